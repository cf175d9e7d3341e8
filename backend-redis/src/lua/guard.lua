-- Keeps locks closed for the length of the longest lease after the server was started or lost its data.
-- The last key is the guard; the last argument is the longest lease in ms.
-- Returns after how many ms locks are granted again, nothing if they are by now
local guarded, silent
local function closed()
  if not guarded then
    local key, longest = KEYS[#KEYS], tonumber(ARGV[#ARGV])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local opens, run = string.match(redis.call('GET', key) or '', '^(%d+) (%S+)$')
    local info = redis.pcall('INFO', 'server')
    local runs = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
    if not runs then
      -- What it forgot nobody can know, so locks stay closed until it says which run of it this is.
      silent = type(info) == 'table' and info or redis.error_reply('NORUN the server says no run_id')
      opens = now + longest
    elseif runs ~= run then
      opens = string.format('%.0f', now + longest)
      redis.call('SET', key, opens .. ' ' .. runs)
    end
    guarded = tonumber(opens) - now
  end
  if guarded > 0 then return guarded end
end
