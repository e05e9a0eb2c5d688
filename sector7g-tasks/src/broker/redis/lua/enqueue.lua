-- enqueue.lua: add jobs to one queue, each only if its id is free.
-- KEYS[1] queue
-- ARGV[1] the caller   ARGV[2] its request's number   ARGV[3] its requests below this number come no more
-- ARGV[4] ms for which a request is known   ARGV[5] '1' all are due at once, and of new ids, which nobody can have had; else '0'
-- ARGV[6..] of each job two values, id and payload, and unless all are new a third, '' or
--   «<'d' delay or 'a' at><ms of that> <ms until it expires, or nothing> <'1' to replace what has finished, or '0'>»
-- Returns n digits in order: 1 added, 0 its id is taken.   O(n log N).
-- Keeps true: job key and member appear together; an id is one job, whatever its queue; a repeated
-- request adds nothing, and is answered as before; one that was held up until its caller settled it is refused.

-- Most jobs are due at once and of ids that nobody has had: they are added without a function, as to make one costs half a
-- microsecond in each call anew. All others are left to this one, which returns the answers; `unknown` says that nothing is stored
-- under any key of these ids, `size` how many values were told of each.
local function add_others(now, size, ids, unknown, scores)
  -- with: common.lua
  local q = KEYS[1]

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
      redis.call('HDEL', q .. ':s7:leases', id)
    end
    return true
  end

  local answers, earliest, taken, members, jobs = {}, nil, {}, {}, {}
  for i = 1, #ids do
    local at = 6 + size * (i - 1)
    local id, payload, options = ids[i], ARGV[at + 1], size == 3 and ARGV[at + 2] or ''
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
        expect_expiry(q, tonumber(expires))
        redis.call('SET', key, payload, 'PX', expires)
      end
      earliest = math.min(earliest or due, due)
    end
    answers[i] = free and 1 or 0
  end
  call_many('ZADD', q, members)
  ask_many('MSET', nil, jobs)
  if earliest then tell_due(q, earliest, now) end
  return table.concat(answers)
end

local ask, byte, unpack = redis.call, string.byte, unpack
local BATCH = 1000
local BELL_TTL = 60000
local q, time = KEYS[1], ask('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local asked, number, answers = q .. ':s7:asked:' .. ARGV[1], ARGV[2], nil

-- Nothing of a settled request is kept, and what is kept of others is never below '!', which sorts before digits.
local last = ask('ZRANGE', asked, number, '-inf', 'BYSCORE', 'REV', 'LIMIT', '0', '1')[1]
local known, flags = string.match(last or '', '^(%d+):(%d*)$')
if known == number then
  -- A write, for who waits until replicas have those of this connection: the first one may have come on another.
  ask('PEXPIRE', asked, ARGV[4])
  return flags
elseif not last and ask('EXISTS', asked) == 1 then
  return redis.error_reply('SETTLED it arrived when its caller had settled it; nothing was added')
end

-- What is written of the jobs, if they are plain, and the keys under which an id that somebody has had is known. The lists are
-- made as long as they are to become, of the numbers of some bytes, which are then written over: to grow them value by value costs
-- more than what is done with them.
local are_new, size, looks = ARGV[5] == '1', 3, 5
if are_new then size, looks = 2, 0 end
local many = (#ARGV - 5) / size
local signs = string.rep(' ', math.max(2, looks) * math.min(many, BATCH))
local members, jobs, keys = { byte(signs, 1, 2 * many) }, { byte(signs, 1, 2 * many) }, { byte(signs, 1, looks * many) }
local plain, due, at = true, string.format('%d', now), 6
for nth = 1, many do
  local id = ARGV[at]
  local job_key = 'arq:job:' .. id
  members[2 * nth - 1], members[2 * nth] = due, id
  jobs[2 * nth - 1], jobs[2 * nth] = job_key, ARGV[at + 1]
  if not are_new then
    local last = 5 * nth
    keys[last - 4], keys[last - 3], keys[last - 2], keys[last - 1], keys[last] =
      job_key, 'arq:result:' .. id, 'arq:s7:hold:' .. id, 'arq:in-progress:' .. id, 'arq:s7:job:' .. id
    plain = plain and ARGV[at + 2] == ''
  end
  at = at + size
end
-- A worker waits at an empty bell where the queue is not paused: then one command says so together with the rest.
local bell, paused, found = q .. ':s7:bell', q .. ':s7:paused', 0
keys[looks * many + 1], keys[looks * many + 2] = bell, paused
for from = 1, #keys, 5 * BATCH do found = found + ask('EXISTS', unpack(keys, from, math.min(#keys, from + 5 * BATCH - 1))) end
local is_rung = found > 0 and ask('EXISTS', bell) == 1
local is_paused = found > (is_rung and 1 or 0) and ask('EXISTS', paused) == 1
local unknown = found == (is_rung and 1 or 0) + (is_paused and 1 or 0)
plain = plain and unknown and many > 0
-- What adds looks, too: for the queue's own members, and before that for jobs of new ids, as who has one is no new one and stays.
local added = 0
plain = plain and (not are_new or ask('MSETNX', unpack(jobs)) == 1)
if plain then
  added = ask('ZADD', q, 'NX', unpack(members))
  plain = added == many
  if plain and not are_new then
    ask('MSET', unpack(jobs))
  elseif not plain and are_new then
    for i = 1, many do keys[i] = jobs[2 * i - 1] end
    ask('DEL', unpack(keys, 1, many))
  end
end
if plain then
  answers = string.rep('1', many)
  if not is_rung then -- as `ring` in common.lua
    ask('RPUSH', bell, is_paused and '0' or '1')
    ask('PEXPIRE', bell, BELL_TTL)
  end
else
  local ids = {}
  for i = 1, many do ids[i] = members[2 * i] end
  local scores = many > 0 and ask('ZMSCORE', q, unpack(ids)) or {}
  -- One is told twice, or was a member whose job has run out: the others are none again. Should one of that kind have
  -- been due in this very millisecond, it is taken for one of them.
  for i = 1, added > 0 and many or 0 do
    if scores[i] == due then
      ask('ZREM', q, ids[i])
      scores[i] = false
    end
  end
  answers = add_others(now, size, ids, unknown and not are_new, scores)
end
ask('ZREMRANGEBYSCORE', asked, '-inf', '(' .. ARGV[3])
ask('ZADD', asked, 'GT', ARGV[3], '!', number, number .. ':' .. answers)
ask('PEXPIRE', asked, ARGV[4])
return answers
