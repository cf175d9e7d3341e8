-- Who holds a lock, and takes it away if asked.
-- KEYS 1 lock, 2 fence, 3 broken, 4 sharers
-- ARGV 1 look, safe or now; 2 reason; 3 life of the fence in ms; 4 life of the note to the loser in ms;
--      5 channel to tell or nothing
-- Returns a list of {kind, ms left or -1, "fence since label", reason or nothing}, one for each holder;
-- kind is x, r or p
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('GET', KEYS[2]) or '0 0 '
local found = redis.call('TYPE', KEYS[1]).ok
local seen, losers = {}, {}
-- A broken lock keeps the token of its loser, who can acknowledge. Where tokens are whole numbers, for
-- Django, the value stays one; a pickle, or a key of another type, is of somebody else, who does not know
-- how to acknowledge.
local nobody = '1'
local function is_broken(value)
  return string.find(value, '^!') or string.find(value, '^%-%d+$')
end
local function as_broken(value)
  if string.find(value, '^\128') then return '-' .. nobody end
  return (string.find(value, '^%d+$') and '-' or '!') .. value
end
local function reason(token)
  return redis.call('HGET', KEYS[3], token) or ''
end
if found == 'string' then
  local value = redis.call('GET', KEYS[1])
  local broken = is_broken(value)
  local token = broken and string.sub(value, 2) or value
  seen[1] = {'x', redis.call('PTTL', KEYS[1]), last, broken and reason(token) or ''}
  losers[1] = token
elseif found == 'zset' then
  local all = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES')
  for i = 1, #all, 2 do
    local member = all[i]
    local broken = string.sub(member, 1, 1) == '!'
    if broken then member = string.sub(member, 2) end
    local token = string.sub(member, 2)
    local given = redis.call('HGET', KEYS[4], member) or last
    seen[#seen + 1] =
      {string.sub(member, 1, 1), tonumber(all[i + 1]) - now, given, broken and reason(token) or ''}
    losers[#losers + 1] = token
  end
elseif found ~= 'none' then
  seen[1] = {'x', redis.call('PTTL', KEYS[1]), last, ''}
  losers[1] = nobody
end
if ARGV[1] == 'look' or #seen == 0 then return seen end
-- The fence moves, so that a gate which has seen the new one refuses the old holder.
local fence = math.max(time[1] * 1000000 + time[2], tonumber(string.match(last, '^%d+')) + 1)
local rest = string.match(last, '^%d+( .*)$') or ' 0 '
redis.call('SET', KEYS[2], string.format('%.0f', fence) .. rest, 'PX', ARGV[3])
for _, loser in ipairs(losers) do
  redis.call('HSET', KEYS[3], loser, ARGV[2])
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
end
if ARGV[1] == 'safe' and found ~= 'zset' then
  local left, broken = redis.call('PTTL', KEYS[1]), '-' .. nobody
  if found == 'string' then
    local value = redis.call('GET', KEYS[1])
    broken = is_broken(value) and value or as_broken(value)
    -- What is merely kept taken has nobody who could acknowledge.
    if value == '1' then left = 0 end
  end
  if left > 0 then
    redis.call('SET', KEYS[1], broken, 'PX', left)
  else
    redis.call('DEL', KEYS[1])
  end
elseif ARGV[1] == 'safe' then
  local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) ~= '!' then
      redis.call('ZREM', KEYS[1], all[i])
      if string.sub(all[i], 2, 2) ~= '-' then redis.call('ZADD', KEYS[1], all[i + 1], '!' .. all[i]) end
    end
  end
else
  redis.call('DEL', KEYS[1], KEYS[4])
end
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[5], KEYS[1]) end
return seen
