-- Tells that releases of one department's day are committed: their patients are free for every caller.
--
-- KEYS   1 sessions, 2 tickets, 3 holders, 4 bookings, 5 free, 6 calls: see includes/records.lua
-- ARGV   1 caller, then for each release: "c" and the ticket that was cancelled, or "x" and the session that was closed
-- Reply  "OK". Whatever the caller has not released, or Redis has forgotten, stays as it is
--- @include "records"

local caller = ARGV[1]

local function settle_ticket(ticket, session)
  local held = read_ticket(ticket)
  if not held or held.releaser ~= caller or (session and held.session ~= session) then return end
  settle(held)
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
