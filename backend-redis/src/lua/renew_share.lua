-- Sets the remaining life of a share.
-- KEYS 1 lock, 2 fence, 3 broken, 4 sharers
-- ARGV 1 token, 2 ttl in ms or 0 to change nothing, 3 life of the fence in ms, 4 r or p
-- Returns 1, 0 if it is not this token's, -1 if it was broken
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me = ARGV[4] .. ARGV[1]
local ends = redis.call('TYPE', KEYS[1]).ok == 'zset' and redis.call('ZSCORE', KEYS[1], me)
if ends and tonumber(ends) >= now then
  if ARGV[2] ~= '0' then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), me)
    local latest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(latest)))
    redis.call('PEXPIREAT', KEYS[4], string.format('%.0f', tonumber(latest)))
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
  end
  return 1
end
return -redis.call('HEXISTS', KEYS[3], ARGV[1])
