-- health.lua: store or remove what a worker says of itself.
-- KEYS[1] queue   ARGV[1] worker instance   ARGV[2] its health, JSON, or '' to remove it   ARGV[3] for how long, ms
-- ARGV[4] arq's health line (up to `queued=`, which is added here)
-- Returns nothing.   O(log workers).
-- Keeps true: arq's `--check` finds `q:health-check` while one of our workers lives.

-- with: common.lua

local q, worker, now, ttl = KEYS[1], ARGV[1], now_ms(), tonumber(ARGV[3])
local workers, entry, check = q .. ':s7:workers', q .. ':s7:worker:' .. ARGV[1], q .. ':health-check'
redis.call('ZREMRANGEBYSCORE', workers, '-inf', int(now))
local leases = q .. ':s7:leases'
local some, gone = redis.call('HRANDFIELD', leases, '100', 'WITHVALUES'), {}
for i = 1, #some, 2 do
  if tonumber(some[i + 1]) < now - 86400000 then gone[#gone + 1] = some[i] end -- of jobs that Python workers ended
end
call_many('HDEL', leases, gone)
if ARGV[2] == '' then
  redis.call('DEL', entry)
  redis.call('ZREM', workers, worker)
  if redis.call('ZCARD', workers) == 0 then redis.call('DEL', check) end
else
  redis.call('SET', entry, ARGV[2], 'PX', int(ttl))
  redis.call('ZADD', workers, int(now + ttl), worker)
  redis.call('PEXPIRE', workers, int(math.max(ttl, redis.call('PTTL', workers))))
  redis.call('SET', check, ARGV[4] .. redis.call('ZCARD', q), 'PX', int(ttl))
end
return false
