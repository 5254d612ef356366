-- Takes a member out of a group, unless it was handed entries that it did not acknowledge: those are for another to claim.
--
-- KEYS   1 the stream
-- ARGV   1 the group, 2 the member
-- Reply  1 when it is out, else 0
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
