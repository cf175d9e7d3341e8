-- What the scripts of locks with a queue share.
-- KEYS 1 lock, 2 fence, 3 broken, 4 sharers, 5 queue: a sorted set of tokens by the order in which they
--      came, 6 places: by token, what is known of who waits
-- ARGV 1 token, 3 life of the fence in ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me = ARGV[1]

local function whole(number)
  return string.format('%.0f', number)
end

local function last()
  return string.match(redis.call('GET', KEYS[2]) or '0', '^%d+')
end

local function leave(token)
  redis.call('ZREM', KEYS[5], token)
  redis.call('HDEL', KEYS[6], token)
end

-- The first in the queue that still shows signs of life: until when it counts as alive, when it asked
-- last, when it will look by itself, the life of its lease, its kind, how many permits there are, its
-- floor of the fence, where it listens, its label.
local function first()
  while true do
    local token = redis.call('ZRANGE', KEYS[5], 0, 0)[1]
    if not token then return nil end
    local expires, asked, look, life, kind, limit, floor, channel, label =
      string.match(redis.call('HGET', KEYS[6], token) or '', '^(%d+) (%d+) (%d+) (%d+) (%a) (%d+) (%d+) (%S+) (.*)$')
    if expires and tonumber(expires) > now then
      return {
        token = token, asked = tonumber(asked), look = tonumber(look), life = tonumber(life), kind = kind,
        limit = tonumber(limit), floor = tonumber(floor), channel = channel, label = label,
      }
    end
    leave(token)
  end
end

-- What the lock is; shares that are over are taken out of it.
local function state()
  local found = redis.call('TYPE', KEYS[1]).ok
  if found ~= 'zset' then return found end
  for _, over in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)) do
    redis.call('ZREM', KEYS[1], over)
    redis.call('HDEL', KEYS[4], over)
  end
  return redis.call('TYPE', KEYS[1]).ok
end

local function admits(kind, limit)
  local found = state()
  if found == 'none' then return true end
  if found ~= 'zset' or kind == 'x' then return false end
  if string.sub(redis.call('ZRANGE', KEYS[1], 0, 0)[1], 1, 1) ~= kind then return false end
  return kind == 'r' or redis.call('ZCARD', KEYS[1]) < limit
end

-- After how many ms there is room by itself; -1 if it is not known.
local function left(kind)
  if kind == 'p' and redis.call('TYPE', KEYS[1]).ok == 'zset' then
    local earliest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    if string.sub(earliest[1], 1, 1) == 'p' then return tonumber(earliest[2]) - now end
  end
  return redis.call('PTTL', KEYS[1])
end

-- Lets the lock end with the last of its shares.
local function end_with_last()
  local latest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  if not latest then return end
  redis.call('PEXPIREAT', KEYS[1], whole(tonumber(latest)))
  redis.call('PEXPIREAT', KEYS[4], whole(tonumber(latest)))
end

local function grant(token, life, kind, floor, label)
  local fence = whole(math.max(time[1] * 1000000 + time[2], tonumber(last()) + 1, floor + 1))
  local given = fence .. ' ' .. whole(now) .. ' ' .. label
  redis.call('SET', KEYS[2], given, 'PX', ARGV[3])
  if kind == 'x' then
    redis.call('SET', KEYS[1], token, 'PX', whole(life))
  else
    redis.call('ZADD', KEYS[1], whole(now + life), kind .. token)
    redis.call('HSET', KEYS[4], kind .. token, given)
    end_with_last()
  end
  return fence
end

-- Lets the first in the queue ask again, if the lock ends before it would look by itself.
local function tell(head)
  local free = left(head.kind)
  if free >= 0 and now + free + 5 < head.look then redis.call('PUBLISH', head.channel, head.token) end
end

-- Grants the lock to those in front for whom there is room, and tells them. A lease begins where the
-- waiter's belief may begin at the earliest: it lasts longer by the time since the waiter asked last,
-- and the waiter counts from then. Returns the first who has to wait on; the one who asks serves itself.
-- While a guard keeps locks closed nobody is served: who waits is told how long that is when it asks.
local function hand_on()
  while true do
    local head = first()
    if not head or head.token == me then return head end
    if closed() or not admits(head.kind, head.limit) then
      tell(head)
      return head
    end
    leave(head.token)
    local since = math.max(now - head.asked, 0)
    local fence = grant(head.token, head.life + since, head.kind, head.floor, head.label)
    redis.call('PUBLISH', head.channel, head.token .. ' ' .. fence .. ' ' .. whole(since))
  end
end
