-- Ends a lock that is held alone, or acknowledges that it was broken.
-- KEYS 1 lock, 2 broken, 3 waiting writer
-- ARGV 1 token, 2 ms for which the name stays taken, 3 channel to tell or nothing
-- Returns 1, 0 if it is not this token's, -1 if it was broken
local held = redis.pcall('GET', KEYS[1])
local answer = 0
if held == ARGV[1] then
  answer = 1
  if ARGV[2] == '0' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
  end
else
  -- Broken; see inspect.lua.
  if held == '!' .. ARGV[1] or held == '-' .. ARGV[1] then redis.call('DEL', KEYS[1]) end
  answer = -redis.call('HEXISTS', KEYS[2], ARGV[1])
  -- A claim that gives up waits no more.
  if answer == 0 and redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
end
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], KEYS[1]) end
return answer
