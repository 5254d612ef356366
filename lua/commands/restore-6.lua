-- Replaces what is known of one session, in one call or more. Until the last one the session is marked as being
-- restored, and whoever asks for it is told that it is lost. Who holds appointments in it counts from the first one on.
--
-- KEYS   1 sessions, 2 tickets, 3 holders, 4 bookings, 5 free, 6 calls: see includes/records.lua
-- ARGV   1 caller, 2 number of the call, 3 session, 4 doctor, 5 fence, 6 least version, 7 capacity, 8 taken, 9 top,
--        10 state (0 open, 1 closed), 11 scope, 12 release_at, 13 ends_at, 14 whether this is the first call (1 or 0;
--        2 or 3: it is, and does nothing to a session that is being restored; 2 nor to one that has as many taken or released),
--        15 whether it is the last (1 or 0), 16 how many bookings follow
--        then for each booking: ticket, patient, number, booked_at, active (1 or 0)
--        then numbers below top that are free
-- Reply  {"OK", caller, number, {version}}
--        {"FENCED", caller, number, 1}: a later takeover has the session
--        {"LOST", caller, number, 1}: what the first call began is not there; begin again
--        {"OVERTAKEN", caller, number}: a later call of the caller came first
--- @include "call"

local caller, call_number, id, doctor, fence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local scope = ARGV[11]

check_types()
if (last_call(caller)) >= tonumber(call_number) then return {'OVERTAKEN', caller, call_number} end
local session = read_session(id)
local same = session and session.doctor == doctor
if same and session.fence > fence then return {'FENCED', caller, call_number, 1} end
local lent = ARGV[14] == '2' or ARGV[14] == '3'
if lent and session then
  local known = session.taken + tonumber(redis.call('HGET', KEYS[3], 'r' .. id) or 0)
  local level = ARGV[14] == '2' and known >= tonumber(ARGV[8])
  if level or not same or session.state == 'r' then return {'OK', caller, call_number, {session.version}} end
end

-- The bookings that follow, in order and by ticket.
local bookings, wanted, at = {}, {}, 17
for index = 1, tonumber(ARGV[16]) do
  local held = {
    ticket = ARGV[at], patient = ARGV[at + 1], number = tonumber(ARGV[at + 2]), booked_at = ARGV[at + 3],
    active = ARGV[at + 4] == '1', scope = scope, session = id,
  }
  held.text = ticket_text(held)
  bookings[index], wanted[held.ticket] = held, held
  at = at + 5
end

local version = tonumber(ARGV[6])
if same and session.fence == fence then version = math.max(version, session.version + 1) end
if ARGV[14] ~= '0' then
  mark_call(caller, call_number)
  session = {id = id, doctor = doctor, fence = fence, version = version, scope = scope}
  session.capacity, session.taken, session.top = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
  session.release_at, session.ends_at, session.state = ARGV[12], ARGV[13], 'r'
  write_session(session)
  forget_bookings(id, wanted)
elseif not same or session.fence ~= fence or session.state ~= 'r' then
  return {'LOST', caller, call_number, 1}
else
  mark_call(caller, call_number)
end

-- After an owner that died most are what they were: only what is not is written.
local names, texts = {}, {}
for _, held in ipairs(bookings) do
  if not held.kept then
    names[#names + 1], texts[#texts + 1] = held.ticket, held.text
    if held.active then enter(held) end
  end
end
write_bookings(id, names, texts)
while ARGV[at] do
  redis.call('ZADD', KEYS[5], 0, member(id, struct.pack('>I4', tonumber(ARGV[at]))))
  at = at + 1
end

if ARGV[15] == '1' then
  session.state = ARGV[10]
  write_session(session)
end
return {'OK', caller, call_number, {session.version}}
