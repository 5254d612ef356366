-- Decides commands of one department's day in order, as `DepartmentDay` in domain/src/inventory.rs does, and applies
-- them. Nothing is written when a session is fenced or lost.
--
-- KEYS   1 sessions, 2 tickets, 3 holders, 4 bookings, 5 free, 6 calls: see includes/records.lua
-- ARGV   1 caller, 2 number of the call, 3 number of the caller's last call that was answered, or 0 when it knows no
--        session of the day, 4 how many sessions follow, 5 number of the first call that asked the same and was not
--        answered, or 0: if one of these was carried out, and nothing after it, its answers are told again
--        then for each session: its id, its doctor, the caller's fence, and the version that the caller saw last, or
--        an empty string when it does not know the session
--        then for each command: kind, index of its session (from 1), offset, logged_at, and
--          b  book             ticket, patient
--          c  cancel           ticket, patient
--          o  open             capacity, release_at, ends_at, scope
--          x  close
--          r  change capacity  capacity
--          u  undo a booking   ticket
--          f  undo an opening
-- Reply  {"OK", caller, number, versions, answers}: the version of each session (0 when it is not there), and for each
--        command "offset outcome", where outcome is one of
--          booked NUMBER, booked NUMBER UNTIL, sold_out UNTIL, repeat OFFSET, cancelled NUMBER, applied, or a reason
--        UNTIL is the session's end, told when it has no number left.
--        {"FENCED", caller, number, index}: a later takeover has that session
--        {"LOST", caller, number, index}: that session is not what the caller knows, or the call was carried out before and
--        cannot be repeated; with index 0, nothing is known
--        {"OVERTAKEN", caller, number}: a later call of the caller came first
--- @include "call"

local caller, call_number, count = ARGV[1], ARGV[2], tonumber(ARGV[4])
local entries, sessions, dirty = {}, {}, {}

check_types()
local last, kept = last_call(caller)
if last >= tonumber(call_number) then return {'OVERTAKEN', caller, call_number} end
if last < tonumber(ARGV[3]) then return {'LOST', caller, call_number, 0} end
for index = 1, count do
  local at = index * 4 + 2
  local entry = {id = ARGV[at], doctor = ARGV[at + 1], fence = tonumber(ARGV[at + 2]), version = tonumber(ARGV[at + 3])}
  local stored = read_session(entry.id)
  -- Takeovers of two doctors are of two partitions, and cannot be compared.
  local same = stored and stored.doctor == entry.doctor
  if same and stored.fence > entry.fence then return {'FENCED', caller, call_number, index} end
  local older = same and stored.fence < entry.fence
  if entry.version then
    if not same or older or stored.state == 'r' or stored.version < entry.version then
      return {'LOST', caller, call_number, index}
    end
  elseif same and stored.state == 'r' and not older then
    return {'LOST', caller, call_number, index}
  end
  -- What is left of an earlier takeover and was not restored is not there.
  if older then stored = nil end
  entries[index] = entry
  if sessions[entry.id] == nil or older then sessions[entry.id] = stored or false end
end

local function session_of(entry)
  local session = sessions[entry.id]
  return session and session.doctor == entry.doctor and session or nil
end

-- How many arguments a command has.
local WIDTH = {b = 6, c = 6, o = 8, x = 4, r = 5, u = 5, f = 4}
-- Where the first one is.
local FIRST = 6 + count * 4
-- Tickets as they are now; false for one that made no booking.
local tickets = {}

local function ticket_of(ticket)
  if tickets[ticket] == nil then tickets[ticket] = read_ticket(ticket) or false end
  return tickets[ticket] or nil
end

local function keep_ticket(ticket, held)
  write_ticket(ticket, held)
  tickets[ticket] = held
end

-- Reads the tickets that commands name, all at once.
local function read_tickets()
  local named, at = {}, FIRST
  while ARGV[at] do
    local kind = ARGV[at]
    if not WIDTH[kind] then error('CORRUPT no such kind of command: ' .. kind) end
    if kind == 'b' or kind == 'c' then named[#named + 1] = ARGV[at + 4] end
    at = at + WIDTH[kind]
  end
  for first = 1, #named, 1000 do
    local found = redis.call('HMGET', KEYS[2], unpack(named, first, math.min(first + 999, #named)))
    for index, text in ipairs(found) do
      tickets[named[first + index - 1]] = text and parse_ticket(text) or false
    end
  end
end

-- The session, by its index, of a booking that this very command made in an earlier call and that was taken back since, or
-- would be by a command ahead of it. To answer as before would tell of a number that is not held.
local function taken_back()
  local closed, cancelled, at = {}, {}, FIRST
  while ARGV[at] do
    local kind, index, offset, ticket = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 4]
    local id = entries[index].id
    if kind == 'x' then
      closed[id] = true
    elseif kind == 'c' then
      cancelled[ticket] = true
    elseif kind == 'b' and session_of(entries[index]) then
      local held = ticket_of(ticket)
      local same = held and held.booked_at == offset and held.session == id and held.patient == ARGV[at + 5]
      if same and (not held.active or closed[id] or cancelled[ticket]) then return index end
    end
    at = at + WIDTH[kind]
  end
  return nil
end

local function versions()
  local found = {}
  for index, entry in ipairs(entries) do
    local session = session_of(entry)
    found[index] = session and session.version or 0
  end
  return found
end

local repeats = tonumber(ARGV[5])
if repeats > 0 and last >= repeats and kept ~= '' then
  local told = {}
  for answer in string.gmatch(kept, '[^\n]+') do told[#told + 1] = answer end
  keep_answers(caller, call_number, told)
  return {'OK', caller, call_number, versions(), told}
end

read_tickets()
local lost = taken_back()
if lost then return {'LOST', caller, call_number, lost} end
mark_call(caller, call_number)

local function change(session)
  session.version = session.version + 1
  dirty[session.id] = session
end

local function is_full(session)
  return session.taken >= session.capacity
end

local function booked(session, number)
  local answer = string.format('booked %.0f', number)
  if is_full(session) then answer = answer .. ' ' .. session.ends_at end
  return answer
end

local function take_lowest(session)
  session.taken = session.taken + 1
  if session.taken > session.top then
    session.top = session.taken
    return session.top
  end
  local from, to = bounds(session.id)
  local lowest = redis.call('ZRANGEBYLEX', KEYS[5], from, to, 'LIMIT', 0, 1)[1]
  redis.call('ZREM', KEYS[5], lowest)
  return (struct.unpack('>I4', lowest, #session.id + 2))
end

local function free_number(session, number)
  session.taken = session.taken - 1
  if number < session.top then
    redis.call('ZADD', KEYS[5], 0, member(session.id, struct.pack('>I4', number)))
    return
  end
  repeat
    session.top = session.top - 1
    local all_taken = session.taken == session.top
  until all_taken or redis.call('ZREM', KEYS[5], member(session.id, struct.pack('>I4', session.top))) == 0
end

-- Gives a ticket's number back, if it holds one.
local function release(session, ticket, held)
  if not held.active then return end
  held.active = false
  let_go(held, caller)
  keep_ticket(ticket, held)
  free_number(session, held.number)
end

local function book(entry, offset, logged_at, ticket, patient)
  local session = session_of(entry)
  if not session then return 'unknown_session' end
  local held = ticket_of(ticket)
  if held and held.session == session.id and held.patient == patient then
    if held.booked_at == offset then return booked(session, held.number) end
    return 'repeat ' .. held.booked_at
  end
  if session.state == '1' then return 'session_closed' end
  if logged_at < session.release_at then return 'not_released' end
  if logged_at >= session.ends_at then return 'expired' end
  if is_full(session) then return 'sold_out ' .. session.ends_at end
  if held then return 'duplicate' end
  local holder = patient_in_scope(session.scope, session.id, patient)
  if holder and holds(caller, holder) then return 'already_booked' end
  local number = take_lowest(session)
  redis.call('ZADD', KEYS[4], 0, member(session.id, ticket))
  local booking = {
    active = true, number = number, booked_at = offset, scope = session.scope, session = session.id, patient = patient,
  }
  keep_ticket(ticket, booking)
  enter(booking)
  change(session)
  return booked(session, number)
end

local function cancel(entry, logged_at, ticket, patient)
  local session = session_of(entry)
  if not session then return 'unknown_session' end
  local held = ticket_of(ticket)
  if not held or held.session ~= session.id or held.patient ~= patient then return 'not_booked' end
  if held.active then
    if logged_at >= session.ends_at then return 'expired' end
    release(session, ticket, held)
    change(session)
  end
  return string.format('cancelled %.0f', held.number)
end

local function open(entry, logged_at, capacity, release_at, ends_at, scope)
  if logged_at >= ends_at then return 'expired' end
  local session = sessions[entry.id]
  if not session then
    forget_bookings(entry.id)
    tickets = {}
    session = {id = entry.id, fence = entry.fence, version = 0, taken = 0, top = 0, scope = scope, doctor = entry.doctor}
    sessions[entry.id] = session
  elseif session.doctor ~= entry.doctor then
    return 'session_conflict'
  elseif session.top > capacity then
    return 'below_booked'
  end
  -- The rule under which a session was opened first stays with it: appointments were made under it.
  session.capacity, session.release_at, session.ends_at, session.state = capacity, release_at, ends_at, '0'
  change(session)
  return 'applied'
end

local function close(entry)
  local session = session_of(entry)
  if not session then return 'unknown_session' end
  local from, to = bounds(session.id)
  for _, booking in ipairs(session.top > 0 and redis.call('ZRANGEBYLEX', KEYS[4], from, to) or {}) do
    local ticket = string.sub(booking, #session.id + 2)
    local held = ticket_of(ticket)
    if held and held.active and held.session == session.id then
      held.active = false
      let_go(held, caller)
      keep_ticket(ticket, held)
    end
  end
  redis.call('ZREMRANGEBYLEX', KEYS[5], from, to)
  session.taken, session.top, session.state = 0, 0, '1'
  change(session)
  return 'applied'
end

local function change_capacity(entry, capacity)
  local session = session_of(entry)
  if not session then return 'unknown_session' end
  if session.state == '1' then return 'session_closed' end
  if session.top > capacity then return 'below_booked' end
  session.capacity = capacity
  change(session)
  return 'applied'
end

local function undo_booking(entry, ticket)
  local session = session_of(entry)
  local held = session and ticket_of(ticket)
  if held and held.session == session.id then
    -- It was never committed that it was made.
    release(session, ticket, held)
    settle(held)
    redis.call('HDEL', KEYS[2], ticket)
    tickets[ticket] = false
    redis.call('ZREM', KEYS[4], member(session.id, ticket))
    change(session)
  end
  return 'applied'
end

local function undo_opening(entry)
  if session_of(entry) then
    forget_bookings(entry.id)
    tickets = {}
    redis.call('HDEL', KEYS[1], entry.id)
    sessions[entry.id], dirty[entry.id] = false, nil
  end
  return 'applied'
end

local answers, undoes = {}, false
local at = FIRST
while ARGV[at] do
  local kind, entry, offset, logged_at = ARGV[at], entries[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3]
  local a, b, c, d = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  local answer
  if kind == 'b' then
    answer = book(entry, offset, logged_at, a, b)
  elseif kind == 'c' then
    answer = cancel(entry, logged_at, a, b)
  elseif kind == 'o' then
    answer = open(entry, logged_at, tonumber(a), b, c, d)
  elseif kind == 'x' then
    answer = close(entry)
  elseif kind == 'r' then
    answer = change_capacity(entry, tonumber(a))
  elseif kind == 'u' then
    answer = undo_booking(entry, a)
  else
    answer = undo_opening(entry)
  end
  at = at + WIDTH[kind]
  answers[#answers + 1] = offset .. ' ' .. answer
  undoes = undoes or kind == 'u' or kind == 'f'
end

for _, session in pairs(dirty) do write_session(session) end
if not undoes then keep_answers(caller, call_number, answers) end
return {'OK', caller, call_number, versions(), answers}
