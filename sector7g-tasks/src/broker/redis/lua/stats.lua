-- stats.lua: the sizes of a queue, and its workers.
-- KEYS[1] queue
-- Returns { queued, deferred, running, dead, ms that the oldest due job has waited or -1, { health entries, JSON },
--   arq's health line or nil, since when it is paused, ms, or nil }.
-- O(log N + workers); of more than LEASES_AT_MOST leases, how many have ended is guessed by as many; of jobs that Python workers hold, the first LOOK_AT_MOST at the head are counted as running.
-- Keeps true: it changes nothing.

-- with: common.lua

-- with: notes.lua

local q, now = KEYS[1], now_ms()
local total = redis.call('ZCARD', q)
local due = redis.call('ZCOUNT', q, '-inf', int(now))
-- Most leases, and nearly always all, go on; of very many, what share is asked of some of them.
local leases, leases_key = 0, q .. ':s7:leases'
local all_leases = redis.call('HLEN', leases_key)
local marks = redis.call('HRANDFIELD', leases_key, int(LEASES_AT_MOST), 'WITHVALUES')
for i = 2, #marks, 2 do
  if tonumber(marks[i]) > now then leases = leases + 1 end
end
if all_leases > LEASES_AT_MOST then leases = math.floor(all_leases * leases / LEASES_AT_MOST + 0.5) end
local oldest, _, foreign, ours = first_free(q, now)
local health = {}
local names = redis.call('ZRANGEBYSCORE', q .. ':s7:workers', '(' .. int(now), '+inf', 'LIMIT', 0, BATCH)
if #names > 0 then
  for _, text in ipairs(mget(q .. ':s7:worker:', names)) do
    if text then health[#health + 1] = text end
  end
end
leases = math.min(leases, total - due + ours)
return { due - foreign - ours, total - due - (leases - ours), leases + foreign,
  redis.call('ZCARD', q .. ':s7:dead'), oldest and int(now - oldest) or '-1', health,
  get(q .. ':health-check'), get(q .. ':s7:paused') }
