end
-- Remembers the latest attempt of whoever holds the lock alone, so that what undoes an earlier one, and comes
-- late or twice, does not undo this one.
-- KEYS 4 latest attempt
-- ARGV 8 this attempt, a number that grows from one of a claim to the next
-- Returns what acquiring returns
local answer = acquire()
if answer[1] == 1 then
  local owner, attempt = string.match(redis.call('GET', KEYS[4]) or '', '^(%S+) (%d+)$')
  if owner ~= ARGV[1] or tonumber(attempt) < tonumber(ARGV[8]) then
    redis.call('SET', KEYS[4], ARGV[1] .. ' ' .. ARGV[8], 'PX', ARGV[2])
  end
end
return answer
