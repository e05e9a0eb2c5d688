-- enqueue.lua: add jobs to one queue, each only if its id is free.
-- KEYS[1] queue
-- ARGV[1] the caller   ARGV[2] its request's number   ARGV[3] its requests below this number come no more
-- ARGV[4] ms for which a request is known
-- ARGV[5..] of each job three values: id, payload, and '' or
--   «<'d' delay or 'a' at><ms of that> <ms until it expires, or nothing> <'1' to replace what has finished, or '0'>»
-- Returns n integers in order: 1 added, 0 its id is taken.   O(n log N).
-- Keeps true: job key and member appear together; an id is one job, whatever its queue; a repeated
-- request adds nothing, and is answered as before; one that was held up until its caller settled it is refused.

-- with: common.lua

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
local function names(id)
  return 'arq:job:' .. id, 'arq:result:' .. id, 'arq:s7:hold:' .. id, 'arq:in-progress:' .. id, meta(id)
end

-- Before what frees some memory, where something is then to be written that needs more: Redis refuses only the first write.
local function refuse_when_full(q)
  redis.call('SET', q .. ':s7:none', '')
  redis.call('DEL', q .. ':s7:none')
end

-- Nearly always nothing is there of any of them, which few commands tell.
local function are_unknown(ids)
  local keys = {}
  for i = 1, #ids do
    local at = 5 * i
    keys[at - 4], keys[at - 3], keys[at - 2], keys[at - 1], keys[at] = names(ids[i])
  end
  return call_many('EXISTS', nil, keys) == 0
end

local function is_free(id, replace)
  local job, result, hold, claimed, notes = names(id)
  if redis.call('EXISTS', job, result, hold, claimed, notes) == 0 then return true end
  if redis.call('ZSCORE', q, id) and redis.call('EXISTS', job) == 0 then return false end -- its end is to be recorded
  if redis.call('EXISTS', job) == 1 then return false end
  local has_ended = redis.call('EXISTS', result, hold) > 0
  if has_ended and not replace then return false end
  -- with: notes.lua
  local lease = read_lease(get(claimed))
  if not replace and lease and lease.foreign then return false end
  refuse_when_full(q)
  if has_ended then redis.call('DEL', result, hold, claimed, tries(id)) end
  redis.call('DEL', notes, 'arq:retry:' .. id) -- left by a job of that id which a Python worker ended
  if lease and not lease.foreign then
    -- Or by one whose keys somebody has deleted while it ran: its worker is not to end this one.
    redis.call('DEL', claimed)
    redis.call('ZREM', q .. ':s7:leases', id)
  end
  return true
end

local ids = {}
for i = 5, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
local unknown, scores, taken, members, jobs = are_unknown(ids), scores_of(q, ids), {}, {}, {}
for i = 1, #ids do
  local id, payload, options = ids[i], ARGV[3 * i + 3], ARGV[3 * i + 4]
  local due, expires, replace = now, '', '0'
  if options ~= '' then
    local kind, ms
    kind, ms, expires, replace = string.match(options, '^([da])(%-?%d+) (%d*) ([01])$')
    due = kind == 'd' and now + tonumber(ms) or math.max(tonumber(ms), now)
  end
  -- A member whose job key has run out lives until its end is recorded.
  local free = not taken[id] and (unknown or is_free(id, replace == '1')) and not scores[i]
  if free then
    taken[id] = true
    members[#members + 1] = int(due)
    members[#members + 1] = id
    local key = 'arq:job:' .. id
    if expires == '' then
      local at = #jobs
      jobs[at + 1], jobs[at + 2] = key, payload
    else
      redis.call('SET', key, payload, 'PX', expires)
    end
    earliest = math.min(earliest or due, due)
  end
  answers[i] = free and 1 or 0
end
call_many('ZADD', q, members)
ask_many('MSET', nil, jobs)
if earliest then tell_due(q, earliest, now) end
redis.call('ZREMRANGEBYSCORE', asked, '-inf', '(' .. ARGV[3])
redis.call('ZADD', asked, 'GT', ARGV[3], '!', number, number .. ':' .. table.concat(answers))
redis.call('PEXPIRE', asked, ARGV[4])
return answers
