-- Hands entries of a stream to a member of a group: each stays that member's until it is acknowledged.
--
-- KEYS   1 the stream, 2 the place that the group is at: of the newest entry that any member was handed
-- ARGV   1 the group, 2 the member, 3 how many entries at most, 4 which, and 5:
--          new    that nobody was handed before
--          own    that the member was handed and did not acknowledge; 5 is the id after which
--          stuck  that any member was handed and did not acknowledge in so many milliseconds (5)
-- Reply  {place, lost, newest, entries}: the place that the group was at (empty when there was none), how many entries were
--        trimmed before they were acknowledged, the id of the stream's newest entry, and for each entry its id, its place
--        and its batch. lost is -1 when there is no such group.
local group, member, most, which, rest = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lost, entries = 0, {}

local function is_missing(reply)
  return type(reply) == 'table' and reply.err and string.find(reply.err, 'NOGROUP', 1, true)
end

local found
local place = redis.call('GET', KEYS[2]) or ''
if which == 'new' then
  found = redis.pcall('XREADGROUP', 'GROUP', group, member, 'COUNT', most, 'STREAMS', KEYS[1], '>')
  if found and not found.err then found = found[1][2] end
elseif which == 'own' then
  found = redis.pcall('XPENDING', KEYS[1], group, '(' .. rest, '+', most, member)
  if not found.err and #found > 0 then
    local ids = {}
    for index, pending in ipairs(found) do ids[index] = pending[1] end
    found = redis.call('XCLAIM', KEYS[1], group, member, 0, unpack(ids))
    lost = #ids - #found
  end
else
  found = redis.pcall('XAUTOCLAIM', KEYS[1], group, member, rest, '0-0', 'COUNT', most)
  if not found.err then
    lost = #(found[3] or {})
    found = found[2]
  end
end
if is_missing(found) then return {'', -1, '', {}} end
if found and found.err then return found end

local last
for _, entry in ipairs(found or {}) do
  local fields, values = entry[2] or {}, {}
  for at = 1, #fields, 2 do values[fields[at]] = fields[at + 1] end
  last = values.n or last
  for _, value in ipairs({entry[1], values.n or '', values.b or ''}) do entries[#entries + 1] = value end
end
if which == 'new' and last then redis.call('SET', KEYS[2], last) end

local newest = '0-0'
local about = redis.call('XINFO', 'STREAM', KEYS[1])
for at = 1, #about, 2 do
  if about[at] == 'last-generated-id' then newest = about[at + 1] end
end
return {place, lost, newest, entries}
