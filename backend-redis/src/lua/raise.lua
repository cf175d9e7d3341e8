-- Raises the last fence of a lock, so that those after it are above what another server gave.
-- KEYS 1 lock, 2 fence
-- ARGV 1 token, or nothing to raise it whoever holds the lock; 2 fence; 3 life of the fence in ms
-- Returns 1, 0 if the lock is not this token's
if ARGV[1] ~= '' and redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local last = redis.call('GET', KEYS[2]) or '0 0 '
if tonumber(string.match(last, '^%d+')) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[2], ARGV[2] .. (string.match(last, '^%d+( .*)$') or ' 0 '), 'PX', ARGV[3])
end
return 1
