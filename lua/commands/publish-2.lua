-- Adds batches to a stream under the next numbers, so that a reader knows whether one was lost between two.
--
-- KEYS   1 the stream, 2 the place: "life number" of the newest entry
-- ARGV   1 about how many batches the stream keeps, 2… the batches
-- Reply  the id of the last new entry
--
-- An entry has the fields `n`, its place, and `b`, the batch. The life is the server's time when the first entry came, so
-- that a stream that was lost and begun anew is another one; the number counts 1, 2, 3, … in it.
local place = redis.call('GET', KEYS[2])
redis.call('XLEN', KEYS[1])
local life, number = string.match(place or '', '^(%d+) (%d+)$')
if not life then
  local now = redis.call('TIME')
  life, number = string.format('%s%06d', now[1], tonumber(now[2])), 0
end
local id
for index = 2, #ARGV do
  number = tonumber(number) + 1
  place = string.format('%s %.0f', life, number)
  id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'n', place, 'b', ARGV[index])
end
redis.call('SET', KEYS[2], place)
return id
