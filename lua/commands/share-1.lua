-- Notes how much is asked of an ingress node, and tells its share of what all nodes are asked. Nodes that have not been heard
-- of for a while are forgotten. A tenth is divided evenly, so that a node of which nothing is asked has a share for the first.
--
-- KEYS   1 the nodes
-- ARGV   1 the node, 2 what is asked of it (requests a second), 3 for how long it counts (milliseconds)
-- Reply  its share (text, more than 0, at most 1), the number of nodes
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. (now + ARGV[3]))
local known = redis.call('HGETALL', KEYS[1])
local nodes, total, own = 0, 0, tonumber(ARGV[2])
for index = 1, #known, 2 do
  local demand, ends = string.match(known[index + 1], '^(%S+) (%d+)$')
  if demand and tonumber(ends) > now then
    nodes = nodes + 1
    total = total + tonumber(demand)
  else
    redis.call('HDEL', KEYS[1], known[index])
  end
end
local even = math.max(total, 1) / 10 / nodes
return { tostring((own + even) / (total + even * nodes)), nodes }
