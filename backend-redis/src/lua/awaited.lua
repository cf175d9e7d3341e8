-- Whether anybody waits to have a lock alone.
-- KEYS 1 waiting writer
return redis.call('EXISTS', KEYS[1])
