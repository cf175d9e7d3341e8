-- Takes a lock alone.
-- KEYS 1 lock, 2 fence, 3 waiting writer
-- ARGV 1 token, 2 ttl in ms, 3 life of the fence in ms, 4 floor of the fence, 5 label,
--      6 for how long others are told that it waits, in ms; 0 for an attempt that does not wait
--      7 1 to take up again what the token holds, and nothing else
-- Returns {1, fence} or {0, ms until it is free or -1, fence of the holder}
local waits = tonumber(ARGV[6]) > 0
local function last()
  return string.match(redis.call('GET', KEYS[2]) or '0', '^%d+')
end
local function new()
  local time = redis.call('TIME')
  local fence = math.max(time[1] * 1000000 + time[2], tonumber(last()) + 1, tonumber(ARGV[4]) + 1)
  local since = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  fence = string.format('%.0f', fence)
  redis.call('SET', KEYS[2], fence .. ' ' .. since .. ' ' .. ARGV[5], 'PX', ARGV[3])
  return fence
end
local function take()
  if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return nil end
  local fence = new()
  if waits and redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
  return {1, fence}
end
if ARGV[7] ~= '1' then
  local taken = take()
  if taken then return taken end
end
-- The key may be of another type, or another library's.
local held = redis.pcall('GET', KEYS[1])
if held == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  -- A server that evicts keys may have lost the fence: then it is a larger one.
  if redis.call('PEXPIRE', KEYS[2], ARGV[3]) == 0 then return {1, new()} end
  return {1, last()}
end
if ARGV[7] ~= '1' and type(held) == 'table' and redis.call('TYPE', KEYS[1]).ok == 'zset' then
  local time = redis.call('TIME')
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. time[1] * 1000 + math.floor(time[2] / 1000))
  local taken = take()
  if taken then return taken end
end
local denied = {0, redis.call('PTTL', KEYS[1]), last()}
-- After all reading: a server that tracks keys takes all keys of a script for read when it reads one, and
-- those who wait would tell each other for ever that they do.
if waits then redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[6]) end
return denied
