-- Takes a share of a lock: one of any number of readers, or one of some permits.
-- KEYS 1 lock, 2 fence, 3 waiting writer, 4 sharers
-- ARGV 1 token, 2 ttl in ms, 3 life of the fence in ms, 4 floor of the fence, 5 label,
--      6 how many permits there are, 0 for readers
--      7 1 to take up again what the token holds, and nothing else
-- The lock is a sorted set of holders by the end of their leases: r and the token, p and the token.
-- Returns {1, fence} or {0, ms until it is free or -1, fence of the holder}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit = tonumber(ARGV[6])
local kind = limit == 0 and 'r' or 'p'
local me = kind .. ARGV[1]
local function last()
  return string.match(redis.call('GET', KEYS[2]) or '0', '^%d+')
end
local function denied(left)
  return {0, left, last()}
end
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'zset' and found ~= 'none' then return denied(redis.call('PTTL', KEYS[1])) end
for _, over in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)) do
  redis.call('ZREM', KEYS[1], over)
  redis.call('HDEL', KEYS[4], over)
end
local ends = string.format('%.0f', now + ARGV[2])
local mine = redis.call('ZSCORE', KEYS[1], me)
local fence
if mine then
  fence = string.match(redis.call('HGET', KEYS[4], me) or '', '^%d+')
elseif ARGV[7] == '1' then
  return denied(-1)
else
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  if first[1] and string.sub(first[1], 1, 1) ~= kind then return denied(redis.call('PTTL', KEYS[1])) end
  if redis.call('EXISTS', KEYS[3]) == 1 then return denied(redis.call('PTTL', KEYS[3])) end
  if limit > 0 and redis.call('ZCARD', KEYS[1]) >= limit then return denied(tonumber(first[2]) - now) end
end
-- A server that evicts keys may have lost the fence of a share: then it is a larger one.
if not fence then
  fence = math.max(time[1] * 1000000 + time[2], tonumber(last()) + 1, tonumber(ARGV[4]) + 1)
  fence = string.format('%.0f', fence)
  local given = fence .. ' ' .. string.format('%.0f', now) .. ' ' .. ARGV[5]
  redis.call('SET', KEYS[2], given, 'PX', ARGV[3])
  redis.call('HSET', KEYS[4], me, given)
end
redis.call('ZADD', KEYS[1], ends, me)
local latest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(latest)))
redis.call('PEXPIREAT', KEYS[4], string.format('%.0f', tonumber(latest)))
return {1, fence}
