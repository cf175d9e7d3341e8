-- Sets the remaining life of a lock or of a share of it. Who waits first is told of an end that is now earlier.
-- ARGV 2 ttl in ms or 0 to change nothing, 4 x, r or p
-- Returns 1, 0 if it is not this token's, -1 if it was broken
local kind = ARGV[4]
local mine = kind .. me
if kind == 'x' then
  if redis.pcall('GET', KEYS[1]) ~= me then return -redis.call('HEXISTS', KEYS[3], me) end
elseif state() ~= 'zset' or not redis.call('ZSCORE', KEYS[1], mine) then
  return -redis.call('HEXISTS', KEYS[3], me)
end
if ARGV[2] == '0' then return 1 end
local before
if kind == 'x' then
  before = now + redis.call('PTTL', KEYS[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  before = tonumber(redis.call('ZSCORE', KEYS[1], mine))
  redis.call('ZADD', KEYS[1], whole(now + ARGV[2]), mine)
  end_with_last()
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if now + ARGV[2] < before then hand_on() end
return 1
