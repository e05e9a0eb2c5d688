-- due.lua: make a deferred job due now.
-- KEYS[1] queue   ARGV[1] id
-- Returns 1 done, 0 when no such job waits for its time.   O(log N).
-- Keeps true: a running job keeps its lease.

-- with: common.lua

-- with: notes.lua

local q, id, now = KEYS[1], ARGV[1], now_ms()
allow_when_full(q)
local score = redis.call('ZSCORE', q, id)
if not score or tonumber(score) <= now or is_held(read_lease(get('arq:in-progress:' .. id)), now) then return 0 end
redis.call('ZADD', q, int(now), id)
ring(q)
return 1
