end
-- Grants nothing while the guard keeps locks closed.
-- Returns what acquiring returns, or {-1, ms until it is granted again}
local left = closed()
if left then return {-1, left} end
return acquire()
