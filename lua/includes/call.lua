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
local function last_call(caller)
  return tonumber(redis.call('HGET', KEYS[6], caller) or 0)
end

-- The first write of a call: one that takes memory, so that a full server refuses the call whole.
local function mark_call(caller, number)
  redis.call('HSET', KEYS[6], caller, number)
end
