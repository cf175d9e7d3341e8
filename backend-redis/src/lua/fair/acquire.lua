-- Takes a lock, alone or a share of it, or stands in its queue.
-- ARGV 2 ttl in ms, 4 floor of the fence, 5 label, 6 x, r or p, 7 how many permits there are
--      8 1 to take up again what the token holds, and nothing else
--      9 for how many ms a place in the queue is kept without a sign of life; 0 to take none
--      10 ttl in ms if it is handed on, 11 the channel to tell
-- Returns {1, fence} or {0, ms until it is free or -1, fence of the holder, 1 for who is in the queue}
local kind, limit = ARGV[6], tonumber(ARGV[7])
-- A server that evicts keys may have lost the fence: then it is a larger one.
local function again()
  return grant(me, tonumber(ARGV[2]), kind, tonumber(ARGV[4]), ARGV[5])
end
local function mine()
  if kind == 'x' then
    if redis.pcall('GET', KEYS[1]) ~= me then return nil end
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    if redis.call('PEXPIRE', KEYS[2], ARGV[3]) == 1 then return last() end
    return again()
  end
  if state() ~= 'zset' or not redis.call('ZSCORE', KEYS[1], kind .. me) then return nil end
  redis.call('ZADD', KEYS[1], whole(now + ARGV[2]), kind .. me)
  end_with_last()
  return string.match(redis.call('HGET', KEYS[4], kind .. me) or '', '^%d+') or again()
end
local fence = mine()
if fence then
  leave(me)
  return {1, fence}
end
if ARGV[8] == '1' then return {0, left(kind), last(), 0} end
local head = hand_on()
if (not head or head.token == me) and admits(kind, limit) then
  if head then leave(me) end
  fence = grant(me, tonumber(ARGV[2]), kind, tonumber(ARGV[4]), ARGV[5])
  if head then hand_on() end
  return {1, fence}
end
local free, slot = left(kind), tonumber(ARGV[9])
if slot == 0 then return {0, free, last(), 0} end
if not redis.call('ZSCORE', KEYS[5], me) then
  local behind = redis.call('ZRANGE', KEYS[5], -1, -1, 'WITHSCORES')[2]
  local place = math.max(time[1] * 1000000 + time[2], behind and tonumber(behind) + 1 or 0)
  redis.call('ZADD', KEYS[5], whole(place), me)
end
local look = math.floor(now + slot / 3)
if free >= 0 then look = math.min(look, now + free) end
local place = {whole(now + slot), whole(now), whole(look), ARGV[10], kind, ARGV[7], ARGV[4], ARGV[11], ARGV[5]}
redis.call('HSET', KEYS[6], me, table.concat(place, ' '))
redis.call('PEXPIRE', KEYS[5], ARGV[3])
redis.call('PEXPIRE', KEYS[6], ARGV[3])
return {0, free, last(), 1}
