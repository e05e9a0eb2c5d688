-- extend.lua: renew the leases of running jobs, each only while the caller holds it.
-- KEYS[1] queue   ARGV[1] lease, ms   ARGV[2..] id and token of each
-- Returns n digits in order: 1 renewed, 0 lost.   O(n log N).
-- Keeps true: only the newest token moves a score.

-- with: common.lua

-- with: notes.lua

local LONG = 3600000 -- ms for which an attempt goes on before what is noted of it is kept for longer

local q, now, span = KEYS[1], now_ms(), tonumber(ARGV[1])
local kept = int(span + math.max(span, AFTERLIFE)) -- as claim.lua has it
allow_when_full(q)
up_since(q, get(q .. ':s7:up'), now, span)
local ids = {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local scores, answers, till, mark, marks, fields = scores_of(q, ids), {}, int(now + span), mark_of(now + span), {}, {}
local values, keys = mget('arq:in-progress:', ids)
for i = 1, #ids do
  local lease = read_lease(values[i])
  local ours = lease and lease.token == ARGV[2 * i + 1] and scores[i]
  if ours then
    local expires = int(lease.expires)
    if expires == '0' and lease.ends == lease.since + lease.span then
      -- The first time: a claim does not ask for an end where its id and `q:s7:expiring` say that there is none.
      expires = keep_from_expiring('arq:job:' .. ids[i], now)
    end
    local value = table.concat({ lease.token, till, int(lease.due), expires, int(span), int(lease.since), lease.noted }, ' ')
    redis.call('SET', keys[i], value, 'PX', kept)
    local at = #marks
    marks[at + 1], marks[at + 2], fields[at + 1], fields[at + 2] = mark, ids[i], ids[i], mark
    if now - lease.due > LONG then
      redis.call('PEXPIRE', 'arq:retry:' .. ids[i], int(ATTEMPTS_TTL * 1000))
      redis.call('PEXPIRE', meta(ids[i]), int(ATTEMPTS_TTL * 1000))
    end
  end
  answers[i] = ours and 1 or 0
end
call_many('ZADD', q, marks)
call_many('HSET', q .. ':s7:leases', fields)
if #marks > 0 then tell_due(q, now + span, now) end
return table.concat(answers)
