-- Undoes attempts of an owner up to one of them, and none after that.
-- KEYS 1 lock, 2 latest attempt
-- ARGV 1 token, 2 attempt, 3 channel to tell or nothing
-- Returns 1, 0 if the lock is not this token's, or by a later attempt
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local owner, attempt = string.match(redis.call('GET', KEYS[2]) or '', '^(%S+) (%d+)$')
if owner ~= ARGV[1] or tonumber(attempt) > tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], KEYS[1]) end
return 1
