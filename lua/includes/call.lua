--- @include "records"
-- Whether a call may be carried out at all. Nothing is written before that is known: Redis takes nothing back.

-- Touches every key with a command of its type, so that a key of another type ends the call here.
local function check_types()
  redis.call('HLEN', KEYS[1])
  redis.call('HLEN', KEYS[2])
  redis.call('HLEN', KEYS[3])
  redis.call('ZCARD', KEYS[4])
  redis.call('ZCARD', KEYS[5])
end

-- The caller's last call about this day. One with a lower number was given up, and arrives after its repetition and what
-- followed; a last call older than one that was answered means that Redis has lost something since.
-- And its answers, where it decided something.
local function last_call(caller)
  local number, answers = string.match(redis.call('HGET', KEYS[6], caller) or '0', '^(%d+)\n?(.*)$')
  return tonumber(number), answers
end

-- The first write of a call: one that takes memory, so that a full server refuses the call whole.
local function mark_call(caller, number)
  redis.call('HSET', KEYS[6], caller, number)
end

-- Keeps what a call was answered, for one that asks the same because the answer was lost.
local function keep_answers(caller, number, answers)
  redis.call('HSET', KEYS[6], caller, number .. '\n' .. table.concat(answers, '\n'))
end
