-- Makes a group of a stream, unless it is there.
--
-- KEYS   1 the stream, 2 the place that the group is at, 3 the place of the stream's newest entry
-- ARGV   1 the group, 2 where it begins: "oldest" or "now"
-- Reply  1 when it was made, else 0
--
-- Places are as publish-2.lua writes them. A group that begins now follows the newest entry, one that begins at the oldest
-- follows what came before that.
local begin = ARGV[2] == 'now' and '$' or '0'
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], begin, 'MKSTREAM')
if made.err then
  if string.find(made.err, 'BUSYGROUP', 1, true) then return 0 end
  return made
end
local place = redis.call('GET', KEYS[3])
if begin == '0' then
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local fields = oldest and oldest[2] or {}
  for at = 1, #fields, 2 do
    local life, number = string.match(fields[at + 1], '^(%d+) (%d+)$')
    if fields[at] == 'n' and life then place = string.format('%s %.0f', life, tonumber(number) - 1) end
  end
end
if place then redis.call('SET', KEYS[2], place) else redis.call('DEL', KEYS[2]) end
return 1
