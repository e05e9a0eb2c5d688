-- stats.lua: the sizes of a queue, and its workers.
-- KEYS[1] queue
-- Returns { queued, deferred, running, dead, ms that the oldest due job has waited or -1, { health entries, JSON },
--   arq's health line or nil, since when it is paused, ms, or nil }.
-- O(log N + workers); of jobs that Python workers hold, the first LOOK_AT_MOST at the head are counted as running.
-- Keeps true: it changes nothing.

-- with: common.lua

-- with: notes.lua

local q, now = KEYS[1], now_ms()
local total = redis.call('ZCARD', q)
local due = redis.call('ZCOUNT', q, '-inf', int(now))
local leases = redis.call('ZCOUNT', q .. ':s7:leases', '(' .. int(now), '+inf')
local oldest, _, foreign, ours = first_free(q, now)
local health = {}
local names = redis.call('ZRANGEBYSCORE', q .. ':s7:workers', '(' .. int(now), '+inf', 'LIMIT', 0, BATCH)
if #names > 0 then
  for _, text in ipairs(mget(q .. ':s7:worker:', names)) do
    if text then health[#health + 1] = text end
  end
end
return { due - foreign - ours, total - due - (leases - ours), leases + foreign,
  redis.call('ZCARD', q .. ':s7:dead'), oldest and int(now - oldest) or '-1', health,
  get(q .. ':health-check'), get(q .. ':s7:paused') }
