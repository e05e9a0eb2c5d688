-- abort.lua: note that a job is to be aborted; one that waits is due at once.
-- KEYS[1] queue   ARGV[1] id
-- Returns 1 when it waits or runs, 0 when no such job does.   O(log N).
-- Keeps true: a running job keeps its lease.

-- with: common.lua

-- with: notes.lua

local PYTHON_AWAY = '60000' -- ms, as in claim_any.lua

local q, id, now = KEYS[1], ARGV[1], now_ms()
local score = tonumber(redis.call('ZSCORE', q, id) or nil)
if not score then return 0 end
local value = get('arq:in-progress:' .. id)
local lease = note_running(id, value, 'b', '1')
if lease and lease.foreign and value ~= 'held' then
  -- Which ends it without our note: for a while claims look for those of jobs without attempts, too.
  redis.call('SET', q .. ':s7:python', '1', 'PX', PYTHON_AWAY)
end
if not is_held(lease, now) then
  -- One that is due already keeps its place; arq: a score of 0 is no membership.
  if score > now or score == 0 then redis.call('ZADD', q, int(now), id) end
  -- What is noted of a job that waits is looked for only beside its attempts.
  local attempts, kept = 'arq:retry:' .. id, int(ATTEMPTS_TTL * 1000)
  if not redis.call('SET', attempts, '0', 'NX', 'PX', kept) then redis.call('PEXPIRE', attempts, kept) end
  ring(q)
end
return 1
