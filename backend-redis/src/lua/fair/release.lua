-- Ends a lock or a share of it, or acknowledges that it was broken, or leaves the queue; hands on what is free.
-- ARGV 2 ms for which it stays taken, 4 x, r or p
-- Returns 1, 0 if it is not this token's, -1 if it was broken
local kind, answer = ARGV[4], 0
local mine = kind .. me
leave(me)
if kind == 'x' then
  local held = redis.pcall('GET', KEYS[1])
  if held == me then
    answer = 1
    if ARGV[2] == '0' then
      redis.call('DEL', KEYS[1])
    else
      redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
    end
  elseif held == '!' .. me then
    redis.call('DEL', KEYS[1])
  end
elseif state() == 'zset' then
  answer = redis.call('ZREM', KEYS[1], mine)
  redis.call('ZREM', KEYS[1], '!' .. mine)
  redis.call('HDEL', KEYS[4], mine)
  if answer == 1 and ARGV[2] ~= '0' then
    redis.call('ZADD', KEYS[1], whole(now + ARGV[2]), kind .. '-' .. me)
  end
  end_with_last()
end
if answer == 0 then answer = -redis.call('HEXISTS', KEYS[3], me) end
hand_on()
return answer
