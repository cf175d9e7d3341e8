-- Sets the remaining life of a lock that is held alone.
-- KEYS 1 lock, 2 fence, 3 broken
-- ARGV 1 token, 2 ttl in ms or 0 to change nothing, 3 life of the fence in ms
-- Returns 1, 0 if it is not this token's, -1 if it was broken
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  if ARGV[2] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
  end
  return 1
end
return -redis.call('HEXISTS', KEYS[3], ARGV[1])
