-- live.lua: which of these jobs wait or run in a queue.
-- KEYS[1] queue   ARGV ids
-- Returns the ids that do, in order.   O(n).

local live = {}
for _, id in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[1], id) then live[#live + 1] = id end
end
return live
