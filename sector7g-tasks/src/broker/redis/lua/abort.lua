-- abort.lua: note that a job is to be aborted; one that waits is due at once.
-- KEYS[1] queue   ARGV[1] id
-- Returns 1 when it waits or runs, 0 when no such job does.   O(log N).
-- Keeps true: a running job keeps its lease.

local q, id, now = KEYS[1], ARGV[1], now_ms()
if not redis.call('ZSCORE', q, id) then return 0 end
set_meta(id, 0, 'b', '1')
if not is_held(read_lease(get('arq:in-progress:' .. id)), now) then
  redis.call('ZADD', q, int(now), id)
  ring(q)
end
return 1
