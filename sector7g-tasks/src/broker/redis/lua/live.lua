-- live.lua: which of these jobs wait or run in a queue.
-- KEYS[1] queue   ARGV ids
-- Returns the ids that do, in order.   O(n).

-- with: common.lua

-- with: notes.lua

local live, scores = {}, scores_of(KEYS[1], ARGV)
for i = 1, #ARGV do
  if scores[i] then live[#live + 1] = ARGV[i] end
end
return live
