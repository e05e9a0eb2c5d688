-- enqueue.lua: add jobs to one queue, each only if its id is free.
-- KEYS[1] queue
-- ARGV[1] the caller   ARGV[2] its request's number   ARGV[3] its requests below this number come no more
-- ARGV[4] ms for which a request is known
-- ARGV[5..] of each job six values: id, payload, due kind ('n' now, 'd' delay, 'a' at), ms (of the kind), ms until it
--   expires (or ''), '1' to replace what has finished
-- Returns n integers in order: 1 added, 0 its id is taken.   O(n log N).
-- Keeps true: job key and member appear together; an id is one job, whatever its queue; a repeated
-- request adds nothing, and is answered as before; one that was held up until its caller settled it is refused.

local q, now = KEYS[1], now_ms()
local asked, number = q .. ':s7:asked:' .. ARGV[1], ARGV[2]
local answers, earliest = {}, nil

-- Nothing of a settled request is kept, and what is kept of others is never below '!', which sorts before digits.
local last = redis.call('ZRANGE', asked, number, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
local known, flags = string.match(last or '', '^(%d+):(%d*)$')
if known == number then
  -- A write, for who waits until replicas have those of this connection: the first one may have come on another.
  redis.call('PEXPIRE', asked, ARGV[4])
  for flag in string.gmatch(flags, '%d') do answers[#answers + 1] = tonumber(flag) end
  return answers
elseif not last and redis.call('EXISTS', asked) == 1 then
  return redis.error_reply('SETTLED it arrived when its caller had settled it; nothing was added')
end

-- arq enqueues only where neither the job nor its result exists; ours also honours a held id, and the claim that
-- a Python worker keeps for a minute when a cron's job has ended: that tick has run.
local function is_free(id, replace)
  local job, result, hold = 'arq:job:' .. id, 'arq:result:' .. id, 'arq:s7:hold:' .. id
  local claimed = 'arq:in-progress:' .. id
  if redis.call('EXISTS', job, result, hold, claimed, meta(id)) == 0 then return true end
  if redis.call('ZSCORE', q, id) and redis.call('EXISTS', job) == 0 then return false end -- its end is to be recorded
  if redis.call('EXISTS', job) == 1 then return false end
  if redis.call('EXISTS', result, hold) > 0 then
    if not replace then return false end
    redis.call('DEL', result, hold, claimed)
  elseif not replace then
    local lease = read_lease(redis.call('GET', claimed))
    if lease and lease.foreign then return false end
  end
  redis.call('DEL', meta(id), 'arq:retry:' .. id) -- left by a job of that id which a Python worker ended
  return true
end

for i = 5, #ARGV, 6 do
  local id, payload, kind, ms, expires = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4]
  local free = is_free(id, ARGV[i + 5] == '1')
  local due = now
  if kind == 'd' then due = now + ms elseif kind == 'a' then due = math.max(ms, now) end
  -- A member whose job key has run out lives until its end is recorded.
  if free and redis.call('ZADD', q, 'NX', int(due), id) == 0 then free = false end
  if free then
    if expires == '' then
      redis.call('SET', 'arq:job:' .. id, payload)
    else
      redis.call('SET', 'arq:job:' .. id, payload, 'PX', expires)
    end
    earliest = math.min(earliest or due, due)
  end
  answers[#answers + 1] = free and 1 or 0
end
if earliest then tell_due(q, earliest, now) end
redis.call('ZREMRANGEBYSCORE', asked, '-inf', '(' .. ARGV[3])
redis.call('ZADD', asked, 'GT', ARGV[3], '!', number, number .. ':' .. table.concat(answers))
redis.call('PEXPIRE', asked, ARGV[4])
return answers
