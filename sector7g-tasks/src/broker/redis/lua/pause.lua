-- pause.lua: let no worker of ours claim from a queue, or let them again.
-- KEYS[1] queue   ARGV[1] '1' to pause it, '0' to let it go on
-- Returns 1 when that changed something, else 0.   O(1).
-- Keeps true: when a queue goes on, who waits looks at it.

-- with: common.lua

local q, paused = KEYS[1], KEYS[1] .. ':s7:paused'
allow_when_full(q)
if ARGV[1] == '1' then
  return redis.call('SET', paused, int(now_ms()), 'NX') and 1 or 0
end
local changed = redis.call('DEL', paused)
if changed == 1 then ring(q) end
return changed
