--- @include "records"
-- Whether a call may be carried out at all. Nothing is written before that is known: Redis takes nothing back.

-- Touches every key with a command of its type, so that a key of another type ends the call here.
local function check_types()
  redis.call('HLEN', KEYS[1])
  redis.call('HLEN', KEYS[2])
  redis.call('SCARD', KEYS[3])
  redis.call('ZCARD', KEYS[4])
  redis.call('ZCARD', KEYS[5])
end

-- A call that a client gave up on may still arrive, after its repetition and what followed. Each caller numbers its
-- calls, so that such a one is known.
local function is_overtaken(caller, number)
  local last = redis.call('HGET', KEYS[6], caller)
  return last and tonumber(last) >= tonumber(number)
end

-- The first write of a call: one that takes memory, so that a full server refuses the call whole.
local function mark_call(caller, number)
  redis.call('HSET', KEYS[6], caller, number)
end
