-- abort.lua: note that a job is to be aborted; one that waits is due at once.
-- KEYS[1] queue   ARGV[1] id
-- Returns 1 when it waits or runs, 0 when no such job does.   O(log N).
-- Keeps true: a running job keeps its lease.

-- with: common.lua

-- with: notes.lua

local q, id, now = KEYS[1], ARGV[1], now_ms()
local score = tonumber(redis.call('ZSCORE', q, id) or nil)
if not score then return 0 end
if not is_held(note_running(id, get('arq:in-progress:' .. id), 'b', '1'), now) then
  -- One that is due already keeps its place; arq: a score of 0 is no membership.
  if score > now or score == 0 then redis.call('ZADD', q, int(now), id) end
  ring(q)
end
return 1
