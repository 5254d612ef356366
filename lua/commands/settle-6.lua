-- Tells that releases of one department's day are committed: their patients are free for every caller.
--
-- KEYS   1 sessions, 2 tickets, 3 holders, 4 bookings, 5 free, 6 calls: see includes/records.lua
-- ARGV   1 caller, then for each release: "c" and the ticket that was cancelled, or "x" and the session that was closed
-- Reply  "OK". What others have released, or Redis has forgotten, stays as it is
--- @include "records"

local caller = ARGV[1]

-- Whether a session waits for its owner to restore it.
local function is_lent(id)
  local session = read_session(id)
  return session and session.state == 'r'
end

local function settle_ticket(ticket, session)
  local held = read_ticket(ticket)
  if not held or (session and held.session ~= session) then return end
  if held.releaser == caller then
    settle(held)
  elseif held.active and is_lent(held.session) then
    -- Somebody else has noted it from what was committed before this.
    held.active = false
    leave(held)
  else
    return
  end
  write_ticket(ticket, held)
end

for at = 2, #ARGV, 2 do
  local name = ARGV[at + 1]
  if ARGV[at] == 'c' then
    settle_ticket(name)
  else
    local from, to = bounds(name)
    for _, booking in ipairs(redis.call('ZRANGEBYLEX', KEYS[4], from, to)) do
      settle_ticket(string.sub(booking, #name + 2), name)
    end
  end
end
return 'OK'
