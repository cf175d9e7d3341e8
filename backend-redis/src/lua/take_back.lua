-- Takes back a grant that was not wanted, and no later one of the same token, however late it comes.
-- KEYS 1 lock, 2 fence
-- ARGV 1 token, 2 fence of the grant, 3 channel to tell or nothing
-- Returns 1, 0 if it is not this grant any more
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if string.match(redis.call('GET', KEYS[2]) or '', '^%d+') ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], KEYS[1]) end
return 1
