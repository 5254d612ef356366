-- What is kept of a department's day. Numbers are Lua's: exact up to 2^53, which fences and versions never reach.
-- Patients are called what the callers call them: by pseudonyms.
-- Moments are strings of 20 digits that sort as the moments do, and offsets are only ever compared for equality.
--
-- KEYS[1] sessions  hash  session -> "fence version capacity taken top state scope release_at ends_at doctor"
--                         top is the highest number that is taken; state is 0 open, 1 closed, r being restored
-- KEYS[2] tickets   hash  ticket -> "active number booked_at scope session\npatient", of every booking ever made; then
--                         "\ncaller" of whoever has released it and not committed that
-- KEYS[3] holders   hash  who holds appointments, by scope -> how many, those included whose release is not committed; by
--                         caller, who of them was released by it and that is not committed -> how many; and "r" .. session
--                         -> how many of its releases are not
-- KEYS[4] bookings  zset  "session\0ticket", all with score 0: a session's tickets
-- KEYS[5] free      zset  "session\0number" (4 bytes, big endian), all with score 0: numbers below top that are free
-- KEYS[6] calls     hash  caller -> the number of its last call, and the answers if it decided something, each on a line

local SESSION = '^(%d+) (%d+) (%d+) (%d+) (%d+) ([01r]) ([dsn]) (%d+) (%d+) (.*)$'
local TICKET = '^([01]) (%d+) (%d+) ([dsn]) ([^\n]*)\n([^\n]*)\n?(.*)$'

local function read_session(id)
  local text = redis.call('HGET', KEYS[1], id)
  if not text then return nil end
  local fence, version, capacity, taken, top, state, scope, release_at, ends_at, doctor = string.match(text, SESSION)
  if not fence then error('CORRUPT the record of session ' .. id .. ' cannot be read') end
  return {
    id = id, fence = tonumber(fence), version = tonumber(version), capacity = tonumber(capacity),
    taken = tonumber(taken), top = tonumber(top), state = state, scope = scope, release_at = release_at,
    ends_at = ends_at, doctor = doctor,
  }
end

local function write_session(session)
  redis.call('HSET', KEYS[1], session.id, string.format('%.0f %.0f %.0f %.0f %.0f %s %s %s %s %s', session.fence,
    session.version, session.capacity, session.taken, session.top, session.state, session.scope, session.release_at,
    session.ends_at, session.doctor))
end

local function parse_ticket(text)
  local active, number, booked_at, scope, session, patient, releaser = string.match(text, TICKET)
  if not active then error('CORRUPT the record of a ticket cannot be read') end
  return {
    active = active == '1', number = tonumber(number), booked_at = booked_at, scope = scope, session = session,
    patient = patient, releaser = releaser ~= '' and releaser or nil,
  }
end

local function read_ticket(ticket)
  local text = redis.call('HGET', KEYS[2], ticket)
  return text and parse_ticket(text) or nil
end

local function ticket_text(held)
  return string.format('%s %.0f %s %s ', held.active and '1' or '0', held.number, held.booked_at, held.scope)
    .. held.session .. '\n' .. held.patient .. (held.releaser and '\n' .. held.releaser or '')
end

local function write_ticket(ticket, held)
  redis.call('HSET', KEYS[2], ticket, ticket_text(held))
end

-- The member of a zset that belongs to a session; no id has a control character.
local function member(session_id, rest)
  return session_id .. '\0' .. rest
end

-- The bounds of a session's members.
local function bounds(session_id)
  return '[' .. session_id .. '\0', '(' .. session_id .. '\1'
end

-- The patient inside the scope in which there may be one appointment; nil where there is no limit.
local function patient_in_scope(scope, session_id, patient)
  if scope == 'd' then return 'd\n' .. patient end
  if scope == 's' then return 's' .. session_id .. '\n' .. patient end
  return nil
end

local function enter(held)
  local holder = patient_in_scope(held.scope, held.session, held.patient)
  if holder then redis.call('HINCRBY', KEYS[3], holder, 1) end
end

local function count_down(field)
  if redis.call('HINCRBY', KEYS[3], field, -1) <= 0 then redis.call('HDEL', KEYS[3], field) end
end

local function leave(held)
  local holder = patient_in_scope(held.scope, held.session, held.patient)
  if holder then count_down(holder) end
end

-- Whom a caller has released and not committed that. No scope begins with a 'c', nor with an 'r'.
local function released_by(caller, holder)
  return 'c' .. caller .. '\n' .. holder
end

-- Frees the patient of an appointment that ends, for its caller at once. Where other callers decide, too, they see it once it
-- is committed: what they decided by it could not be committed before. The ticket is to be written.
local function let_go(held, caller)
  if held.scope ~= 'd' then return leave(held) end
  held.releaser = caller
  redis.call('HINCRBY', KEYS[3], released_by(caller, patient_in_scope('d', held.session, held.patient)), 1)
  redis.call('HINCRBY', KEYS[3], 'r' .. held.session, 1)
end

-- It is committed, or undone. The ticket is to be written, or forgotten.
local function settle(held)
  if not held.releaser then return end
  count_down(released_by(held.releaser, patient_in_scope(held.scope, held.session, held.patient)))
  count_down('r' .. held.session)
  held.releaser = nil
  leave(held)
end

-- Whether a patient holds an appointment in a scope, as far as this caller may tell.
local function holds(caller, holder)
  local all = tonumber(redis.call('HGET', KEYS[3], holder) or 0)
  return all > 0 and all > tonumber(redis.call('HGET', KEYS[3], released_by(caller, holder)) or 0)
end

-- How many members of a key are asked for, or written, at once.
local MANY = 1000

-- Of a session's bookings, those that are as they are to be: tickets whose record is the one in `wanted`, and whose patient is
-- known to hold something, if they hold a number. They are marked there.
local function mark_kept(tickets, texts, wanted)
  local asked, of = {}, {}
  for index, text in ipairs(texts) do
    local held = wanted[tickets[index]]
    if held and held.text == text then
      local holder = held.active and patient_in_scope(held.scope, held.session, held.patient)
      if holder then
        asked[#asked + 1], of[#of + 1] = holder, held
      else
        held.kept = true
      end
    end
  end
  if #asked == 0 then return end
  for index, count in ipairs(redis.call('HMGET', KEYS[3], unpack(asked))) do of[index].kept = count ~= false end
end

-- Forgets a session's bookings, and all who hold numbers in it, but for those that are kept: `wanted` has by ticket what there is
-- to be, with its record as `text`, and is told which of it is there by `kept`. The session's record is the caller's affair.
local function forget_bookings(session_id, wanted)
  wanted = wanted or {}
  local from, to = bounds(session_id)
  local after = from
  repeat
    local found = redis.call('ZRANGEBYLEX', KEYS[4], after, to, 'LIMIT', 0, MANY)
    local tickets, gone, forgotten, names = {}, {}, {}, {}
    for index, booking in ipairs(found) do tickets[index] = string.sub(booking, #session_id + 2) end
    local texts = #found > 0 and redis.call('HMGET', KEYS[2], unpack(tickets)) or {}
    mark_kept(tickets, texts, wanted)
    -- All are read before the first is changed: Redis takes nothing back when a record cannot be.
    for index, text in ipairs(texts) do
      local ticket = tickets[index]
      if not (wanted[ticket] and wanted[ticket].kept) then
        gone[#gone + 1] = found[index]
        local held = text and parse_ticket(text)
        if held and held.session == session_id then forgotten[#forgotten + 1], names[#names + 1] = held, ticket end
      end
    end
    for _, held in ipairs(forgotten) do
      if held.active then leave(held) end
      settle(held)
    end
    if #names > 0 then redis.call('HDEL', KEYS[2], unpack(names)) end
    if #gone > 0 then redis.call('ZREM', KEYS[4], unpack(gone)) end
    if #found > 0 then after = '(' .. found[#found] end
  until #found < MANY
  redis.call('ZREMRANGEBYLEX', KEYS[5], from, to)
end

-- Writes tickets, by name and record, as bookings of a session.
local function write_bookings(session_id, names, texts)
  for first = 1, #names, MANY do
    local tickets, bookings = {}, {}
    for index = first, math.min(first + MANY - 1, #names) do
      tickets[#tickets + 1], tickets[#tickets + 2] = names[index], texts[index]
      bookings[#bookings + 1], bookings[#bookings + 2] = 0, member(session_id, names[index])
    end
    redis.call('HSET', KEYS[2], unpack(tickets))
    redis.call('ZADD', KEYS[4], unpack(bookings))
  end
end
