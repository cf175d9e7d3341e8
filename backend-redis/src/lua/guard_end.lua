end
-- Grants nothing while the guard keeps locks closed.
-- Returns what acquiring returns, or {-1, ms until it is granted again}, or why the guard knows nothing
local left = closed()
if silent then return silent end
if left then return {-1, left} end
return acquire()
