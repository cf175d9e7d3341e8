end
-- A lock that was taken away is the next one's, if it is free by now.
local seen = inspect()
if ARGV[1] ~= 'look' then hand_on() end
return seen
