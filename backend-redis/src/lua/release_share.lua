-- Ends a share, or acknowledges that it was broken.
-- KEYS 1 lock, 2 broken, 3 sharers
-- ARGV 1 token, 2 ms for which the share stays taken, 3 channel to tell or nothing, 4 r or p
-- Returns 1, 0 if it is not this token's, -1 if it was broken
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me = ARGV[4] .. ARGV[1]
local answer = 0
if redis.call('TYPE', KEYS[1]).ok == 'zset' then
  local ends = redis.call('ZSCORE', KEYS[1], me)
  if ends and tonumber(ends) >= now then answer = 1 end
  redis.call('ZREM', KEYS[1], me)
  redis.call('ZREM', KEYS[1], '!' .. me)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
  redis.call('HDEL', KEYS[3], me)
  if answer == 1 and ARGV[2] ~= '0' then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[4] .. '-' .. ARGV[1])
  end
  -- Who waits for all of them to leave waits for the last of them.
  local latest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  if latest then redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(latest))) end
end
if answer == 0 then answer = -redis.call('HEXISTS', KEYS[2], ARGV[1]) end
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], KEYS[1]) end
return answer
