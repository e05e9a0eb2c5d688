-- claim_any.lua: a claim in its general way, whatever is stored of its jobs: what claim.lua does, which tells the rest.
-- KEYS[1] and ARGV[1..10] as there. Returns what that one does. O((n + m) log N), too.
-- It stands in a function of that script, whose `now` and `known` it takes, and returns the steps as functions that share their state.

-- with: notes.lua

local q = KEYS[1]
local worker, call, span, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
-- Since when the server is known to answer; the shortest lease; whether one whose key is gone may have run out for that.
local up, shortest, is_doubtful = nil, nil, false
local HELD = 'held'              -- in arq:in-progress of an ended tick
local PLAIN = 48                 -- how a lease ends, '0', where neither attempts nor notes are stored
local PYTHON_AWAY = 60000        -- ms after which a Python worker that was seen at work counts as gone
local NOTHING = {}               -- what is noted of most jobs
local python_key, leases_key = q .. ':s7:python', q .. ':s7:leases'
local lease_head = worker .. '-' .. call .. ' ' .. int(now + span) .. ' '
local lease_tail = ' ' .. ARGV[3] .. ' ' .. int(now) .. ' '
local last_call, told_up, is_off, with_python = known[1], known[2], known[4], known[5]

-- What the whole call deletes, in one command; what stays in the queue of that which has finished; what is answered.
local deleted, stays, has_buried = {}, {}, false
local answer, dues, odd, leased, leases, raised = { 0, 0, 0, 0, 0 }, {}, {}, {}, {}, {}
local bytes, python_works = 0, false
local again, again_jobs = {}, {}
-- How many due members are passed over; from which score on they are looked at, and how many of these came before that.
local passed, looked_from, before_look = 0, '-inf', 0

-- Reads payloads from place `from` on, some at a time, and few beyond those that one answer takes: each may be large.
local function read_payloads(keys, many, payloads, from, size)
  local told = 0
  for at = 1, from - 1 do told = told + (payloads[at] and #payloads[at] or 0) end
  if told > 0 then size = math.min(size, math.ceil((BATCH_BYTES - bytes) * (from - 1) / told)) end
  local to = math.min(many, from + math.max(1, size) - 1)
  local found = redis.call('MGET', unpack(keys, 3 * many + from, 3 * many + to))
  for at = from, to do payloads[at] = found[at - from + 1] end
  return to
end

local PYTHON_GRACE = 5000        -- ms: no job is unknown for longer while a Python worker is at work
local TRIES_TTL = 604800000      -- ms: a result may be kept for ever
local LEAST = 5000               -- ms for which a lease is believed whose key has no end
local LONGEST = 500              -- bytes of a name that stands for an id
local dead_most, dead_age, lost_failure = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

local BAD_ID = '{"kind":"payload","message":"its id was no text (UTF-8) of one byte or more, so nobody could ask for it; ' ..
  'it is shown in printable signs","attempt":0,"at":%s}'
local UTF8 = { '^[%z\1-\127]+', '^[\194-\223][\128-\191]', '^\224[\160-\191][\128-\191]',
  '^[\225-\236\238\239][\128-\191][\128-\191]', '^\237[\128-\159][\128-\191]',
  '^\240[\144-\191][\128-\191][\128-\191]', '^[\241-\243][\128-\191][\128-\191][\128-\191]',
  '^\244[\128-\143][\128-\191][\128-\191]' }

local function tell(id, payload, due)
  local at, run = #answer, #dues
  answer[at + 1], answer[at + 2] = id, payload
  if run > 0 and dues[run] == due then
    dues[run - 1] = dues[run - 1] + 1
  else
    dues[run + 1], dues[run + 2] = 1, due
  end
end

-- Hands out a job. Its lease is written with the others.
local function lease(id, key, payload, due, expires, noted)
  local count = #leased + 1
  leased[count] = id
  leases[2 * count - 1], leases[2 * count] = key, lease_head .. due .. ' ' .. expires .. lease_tail .. noted
  bytes = bytes + (payload and #payload or 0)
  tell(id, payload, due)
end

-- Whether the worker that had the job last may only have been kept from renewing its lease.
local function may_come_back(lost_at, before)
  return lost_from(lost_at, before and before.span or shortest, up) > now
end

-- Of a job whose lease there is.
local function attempts(id)
  return attempts_of_leased(get('arq:retry:' .. id))
end

local function set_attempts(id, count, delay)
  redis.call('SET', 'arq:retry:' .. id, int(math.max(0, count)), 'PX', int(ATTEMPTS_TTL * 1000 + delay))
end

-- Deliveries beyond the attempts, or fewer.
local function beyond(text)
  if not text then return 0 end
  local sign = string.sub(text, 1, 1) == '-' and -1 or 1
  return sign * count_of(string.gsub(text, '^-', ''))
end

-- A moment in the past, as a note can say it.
local function since_of(text)
  local since = tonumber(text)
  return since and since >= 1 and since <= now and since or nil
end

local function bury(id, failure, name, result, count)
  local payload = payload_of(id)
  local letter = q .. ':s7:dead:' .. name
  redis.call('DEL', letter)
  redis.call('HSET', letter, 'f', add_failure(hmget(meta(id), 'f')[1], failure), 'a', int(count or attempts(id)))
  if payload then redis.call('HSET', letter, 'p', payload) end
  if result ~= '' then redis.call('HSET', letter, 'r', digest(result)) end
  redis.call('PEXPIRE', letter, int(dead_age))
  redis.call('ZADD', q .. ':s7:dead', int(now), name)
  redis.call('PEXPIRE', q .. ':s7:dead', int(dead_age)) -- older ones go with the next death, or with all
  has_buried = true
end

local function trim_dead()
  local dead = q .. ':s7:dead'
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', int(now - dead_age)) -- their letters have run out
  local over = redis.call('ZCARD', dead) - dead_most
  if over > 0 then
    local oldest = redis.call('ZRANGE', dead, 0, math.min(over, BATCH) - 1)
    local letters = {}
    for i = 1, #oldest do letters[i] = q .. ':s7:dead:' .. oldest[i] end
    redis.call('DEL', unpack(letters))
    redis.call('ZREM', dead, unpack(oldest))
  end
end

local function put_back(id, due)
  if hmget(meta(id), 'b')[1] then due = now end -- one that is to be aborted does not wait
  redis.call('DEL', 'arq:in-progress:' .. id)
  stays[id] = true
  redis.call('ZADD', q, int(due), id)
  tell_due(q, due, now)
end

-- A started job expires no more, also where neither its claim nor a heartbeat has looked.
local function drop_unseen_end(id, lease)
  if lease.expires == 0 then redis.call('PERSIST', 'arq:job:' .. id) end
end

local function finish_retry(id, delay, failure, attempt, value)
  local before = attempts(id)
  local count = math.max(before, tonumber(attempt))
  set_attempts(id, count, delay)
  set_meta(id, delay, 'f', add_failure(hmget(meta(id), 'f')[1], failure))
  -- A count that is raised is not another delivery.
  if count > before then
    redis.call('HSET', meta(id), 'x', int(beyond(hmget(meta(id), 'x')[1]) + before - count))
  end
  redis.call('HDEL', meta(id), 'u', 'c', 'n')
  drop_unseen_end(id, read_lease(value))
  put_back(id, now + delay)
end

local function finish_give_back(id, delay, why, value)
  local lease = read_lease(value)
  local due, expires = now + delay, lease.expires
  -- As arq leaves what its stop cuts off: in its place, not behind all that waits. One at 0 is none.
  if why == 's' and delay == 0 and lease.due ~= 0 then due = math.min(lease.due, now) end
  local count = attempts(id) - 1
  set_attempts(id, count, delay)
  set_meta(id, delay)
  redis.call('HSET', meta(id), 'x', int(beyond(hmget(meta(id), 'x')[1]) + 1))
  if why == 'u' then
    -- A Python worker polls, we wake on the dot: without a while of its own it would never get the job.
    if not since_of(hmget(meta(id), 'u')[1]) then redis.call('HSET', meta(id), 'u', int(now)) end
    redis.call('HSET', meta(id), 'c', int(now + delay + math.min(delay, LEFT_TO_PYTHON)), 'n', int(count))
    -- Nobody has started it, so it still expires.
    if expires > 0 then
      expect_expiry(q, expires - now)
      redis.call('PEXPIREAT', 'arq:job:' .. id, int(expires))
    end
  else
    redis.call('HDEL', meta(id), 'u', 'c', 'n')
    drop_unseen_end(id, lease)
  end
  put_back(id, due)
end

-- Members of other queues than this are no jobs of it: ids are one space for all queues.
local function keep_members(ids, is_ours)
  local scores, ours, seen = scores_of(q, ids), {}, {}
  for i = 1, #ids do
    -- One that is told twice is the worker's only the first time.
    is_ours[i] = is_ours[i] and scores[i] and not seen[ids[i]]
    if is_ours[i] then seen[ids[i]], ours[#ours + 1] = true, ids[i] end
  end
  return ours
end

-- Since when nobody could have run the job: a Python worker that has started it knows its task, and one that is
-- busy may come to it yet.
local function unknown_since(id, known, count)
  local since, counted = since_of(known[3]), tonumber(known[6])
  if not since then return 0 end
  if counted ~= count then
    redis.call('HDEL', meta(id), 'u', 'c', 'n')
    return 0
  end
  python_works = python_works or redis.call('EXISTS', python_key) == 1
  return python_works and math.max(since, now - PYTHON_GRACE) or since
end

-- What is noted of a job; what was of an earlier one of its id goes.
local function notes(id, payload)
  local known = hmget(meta(id), 'x', 'b', 'u', 'f', 'c', 'n', 'j')
  if not known[7] or is_noted_of(known[7], payload) then return known end
  redis.call('DEL', meta(id))
  return {}
end

-- How an ended job had failed before, for those who look at its result.
local function keep_failures(id, result, keep)
  local failures = notes(id, payload_of(id))[4]
  if not failures then return end
  redis.call('SET', tries(id), digest(result) .. failures, 'PX', int(math.min(tonumber(keep) or TRIES_TTL, TRIES_TTL)))
end

-- Its lease ran out: that attempt is over.
local function lose(id, known, count)
  local failure = string.gsub(string.gsub(lost_failure, '@attempt', int(count)), '@at', int(now))
  set_meta(id, 0, 'f', add_failure(known[4], failure))
end

-- Tells what is not as with most jobs, of the one that has just been told.
local function tell_odd(count, known, unknown)
  local delivery, aborting = math.max(1, count + beyond(known[1])), known[2] and 1 or 0
  if count == 1 and delivery == 1 and aborting == 0 and unknown == 0 then return end
  local at = #odd
  odd[at + 1], odd[at + 2], odd[at + 3], odd[at + 4], odd[at + 5] = (#answer - 5) / 2, count, delivery, aborting, int(unknown)
end

-- The same call again: what is still leased under its token, with the lease anew.
local function lease_again(ids)
  local values, keys = mget('arq:in-progress:', ids)
  for i = 1, #ids do
    local id, before = ids[i], read_lease(values[i])
    if before and before.token == worker .. '-' .. call then
      local payload = payload_of(id)
      local known = notes(id, payload)
      lease(id, keys[i], payload, int(before.due), int(before.expires), before.noted)
      tell_odd(attempts(id), known, since_of(known[3]) or 0)
    end
  end
end

-- Whether it is UTF-8 of one byte or more, as Rust has it.
local function is_text(id)
  if not string.find(id, '[\128-\255]') then return id ~= '' end
  local at = 1
  while at <= #id do
    local last
    for _, form in ipairs(UTF8) do last = last or select(2, string.find(id, form, at)) end
    if not last then return false end
    at = last + 1
  end
  return true
end

-- A Python scheduler that comes late enqueues a tick again which has run here: its id is held, its job goes.
local function drop_ended(id)
  again[#again + 1] = id
  again_jobs[#again_jobs + 1] = 'arq:job:' .. id
end

-- A Python client's abort puts a running job's member back, also when the job has just ended: it is over.
local function is_over(id)
  return redis.call('EXISTS', 'arq:job:' .. id) == 0 and redis.call('EXISTS', 'arq:result:' .. id) == 1
end

-- Ids are text. Under another name nobody could ask for the job, and no answer could tell it: its letter has the
-- name in printable signs.
local function set_aside(id)
  local name = string.gsub(id, '[^ -~]', function(byte) return string.format('\\x%02x', string.byte(byte)) end)
  if name == '' then name = '(empty)' end
  -- Two may look alike in these signs, or so far, and text may look like them.
  if #name > LONGEST or redis.call('EXISTS', q .. ':s7:dead:' .. name, 'arq:job:' .. name) > 0 then
    name = string.sub(name, 1, LONGEST - 41) .. '-' .. digest(id)
  end
  bury(id, string.format(BAD_ID, int(now)), name, '', count_of(get('arq:retry:' .. id)))
  drop_ended(id)
  redis.call('DEL', 'arq:in-progress:' .. id, 'arq:retry:' .. id, meta(id))
  tell(id, false, 0)
end

-- A Python client's abort has moved it. A lease does not outlive its key, whatever end it tells.
local function raise(id, key, before)
  local left = math.max(LEAST, redis.call('PTTL', key))
  raised[#raised + 1] = mark_of(math.min(before.ends, now + left))
  raised[#raised + 1] = id
end

-- Counts an attempt at a job and leases it: the first by the lease alone, which its mark outlives, where no Python
-- worker may take it over, who counts what is written.
local function start(id, key, job_key, payload, score, is_lost, count, known, is_known)
  if is_lost then
    count = math.max(1, count)
    lose(id, known, count)
  end
  local unknown = known == NOTHING and 0 or unknown_since(id, known, count)
  local is_plain = not (is_known or is_lost or with_python)
  count = count + 1
  if count > 1 or with_python then
    redis.call('SET', 'arq:retry:' .. id, int(count), 'PXAT', int(now + ATTEMPTS_TTL * 1000))
  end
  lease(id, key, payload, int(score), keep_from_expiring(job_key, now), is_plain and '0' or '1')
  if not is_plain then tell_odd(count, known, unknown) end
end

-- Leases members from place `first` on, whatever is stored of them. Returns whether this call has enough, and then whether
-- more is due, or nothing where that is not known.
-- Members of Python workers stay where they are, as their retries count from there; they are passed over.
local function lease_others(ids, page)
  local keys, values, noted, marks, many = page.keys, page.values, page.noted, page.marks, #ids
  local payloads, read_to, size = {}, 0, 4
  for i = 1, many do
    local id, value, score = ids[i], values[i], page.score or page.scores[i]
    local before = value and read_lease(value) or nil
    if bytes >= BATCH_BYTES or #leased >= most then
      -- The rest waits for the next call; what nothing is known of is surely free.
      return true, not value and not noted and score ~= 0 and page.are_text and true or nil
    elseif score == 0 then
      -- arq: a score of 0 is no membership. Such a member never goes: it is not looked at, or many would hide the rest.
      passed = passed + 1
      looked_from, before_look = '(0', passed + #leased
      break
    elseif id == '' or not page.are_text and not is_text(id) then
      passed = passed + 1
      set_aside(id)
    elseif not is_held(before, now) then
      local count = values[many + i] and count_of(values[many + i]) or 0
      local lost_at = before and before.ends or lost_end(marks[i], score)
      if lost_at and (before or is_doubtful) and may_come_back(lost_at, before) then
        passed = passed + 1
      else
        if i > read_to then read_to, size = read_payloads(keys, many, payloads, i, size), math.min(2 * size, 64) end
        local payload, known = payloads[i], noted and notes(id, payloads[i]) or NOTHING
        if known ~= NOTHING and left_until(known[5], known[2], score) > now then
          passed = passed + 1
        elseif not payload and is_over(id) then
          passed = passed + 1
          drop_ended(id)
        else
          start(id, keys[i], keys[3 * many + i], payload, math.ceil(score), lost_at, count, known, page.are_known)
        end
      end
    elseif before.foreign then
      passed = passed + 1
      if value == HELD then drop_ended(id) else python_works = true end
    else
      passed = passed + 1
      raise(id, keys[i], before)
    end
  end
  return false, nil
end

local function finish_end(id, key, is_plain, result, keep, failure, hold)
  if result ~= '' then
    if keep == '' then
      redis.call('SET', 'arq:result:' .. id, result)
    else
      redis.call('SET', 'arq:result:' .. id, result, 'PX', keep)
    end
  end
  if failure ~= '' then
    bury(id, failure, id, result)
  elseif result ~= '' and not is_plain then
    keep_failures(id, result, keep)
  end
  local at = #deleted
  deleted[at + 1] = 'arq:job:' .. id
  if hold == '0' then
    at = at + 1
    deleted[at + 1] = key
  else
    redis.call('SET', 'arq:s7:hold:' .. id, '1', 'PX', hold)
    -- As arq leaves it after a schedule's job: no Python worker starts the same tick again meanwhile.
    redis.call('SET', key, HELD, 'PX', hold)
  end
  if not is_plain then deleted[at + 2], deleted[at + 3] = 'arq:retry:' .. id, meta(id) end
end

local function finish_all(ids, asked, groups)
  local lost, ours, count, is_ours, is_same, at = {}, {}, 0, {}, nil, 1
  for i = 1, #ids do
    local value = known[i + 6]
    while i > groups[at + 1] do at, is_same = at + 4, nil end
    if value and (value == is_same or string.find(value, groups[at], 1, true) == 1) then
      count, is_same = count + 1, value
      is_ours[i], ours[count] = true, ids[i]
    end
  end
  -- Who has a lease in this queue is a member of it, once.
  if call_many('HDEL', leases_key, ours) < count then ours = keep_members(ids, is_ours) end
  local first = 1
  for group = 1, #groups, 4 do
    local last, kind, from, plain = groups[group + 1], groups[group + 2], groups[group + 3], nil
    local keep = string.match(kind, '^k(%d*)$')
    for i = first, last do
      local id, key, value = ids[i], asked[i + 6], known[i + 6]
      local is_plain = value and (value == plain or string.byte(value, -1) == PLAIN)
      if is_plain then
        plain = value
        if is_ours[i] and kind ~= 'd' and not keep then redis.call('DEL', meta(id)) end -- of an earlier job of its id
      end
      if not is_ours[i] then
        lost[#lost + 1] = i
      elseif kind == 'd' then
        finish_end(id, key, is_plain, '', '', '', '0')
      elseif keep then
        finish_end(id, key, is_plain, ARGV[from + 1], keep, '', '0')
      elseif kind == 'e' then
        finish_end(id, key, is_plain, ARGV[from + 1], ARGV[from + 2], ARGV[from + 3], ARGV[from + 4])
      elseif kind == 'r' then
        finish_retry(id, tonumber(ARGV[from + 1]), ARGV[from + 2], ARGV[from + 3], value)
      else
        finish_give_back(id, tonumber(ARGV[from + 1]), ARGV[from + 2], value)
      end
      from = from + (keep and 2 or 5)
    end
    first = last + 1
  end
  if next(stays) then
    local gone = {}
    for i = 1, #ours do
      if not stays[ours[i]] then gone[#gone + 1] = ours[i] end
    end
    ours = gone
  end
  call_many('ZREM', q, ours)
  call_many('DEL', nil, deleted)
  return lost
end

-- What is stored of due members: first of all the keys, whose making costs more than to look.
local function read_page(ids)
  local keys, many, scores, score = {}, #ids, nil, nil
  for i = 1, many do keys[i] = 'arq:in-progress:' .. ids[i] end
  for i = 1, many do keys[many + i] = 'arq:retry:' .. ids[i] end
  for i = 1, many do keys[2 * many + i] = 'arq:s7:job:' .. ids[i] end
  local are_known = redis.call('EXISTS', unpack(keys)) > 0 -- nearly always there is nothing of any of them
  for i = 1, many do keys[3 * many + i] = 'arq:job:' .. ids[i] end
  local all = table.concat(ids)
  -- Most ids are of hexadecimal digits, which as a number, up to its end or a zero byte, are soon seen.
  local are_text = tonumber(all, 16) and not string.find(all, '\0', 1, true) or not string.find(all, '[\128-\255]')
  -- To print a score is dear, and what was enqueued in one call is due at one moment.
  if many == 1 or many > 3 then
    local first = redis.call('ZSCORE', q, ids[1])
    if many == 1 or first == redis.call('ZSCORE', q, ids[many]) then score = sane(tonumber(first)) end
  end
  local are_marked = score and score % 1 ~= 0
  if not score then
    scores = scores_of(q, ids)
    for i = 1, many do
      scores[i] = sane(tonumber(scores[i]))
      are_marked = are_marked or scores[i] % 1 ~= 0
    end
  end
  return {
    keys = keys, are_text = are_text, are_known = are_known,
    scores = scores, score = score, -- when each is due, or when all of them are
    -- Leases, then attempts.
    values = are_known and redis.call('MGET', unpack(keys, 1, 2 * many)) or NOTHING,
    noted = are_known and redis.call('EXISTS', unpack(keys, 2 * many + 1, 3 * many)) > 0,
    -- The scores that lost leases left, in case that their keys are gone; nearly always there is none.
    marks = are_marked and ask_many('HMGET', leases_key, ids) or NOTHING,
  }
end

-- Leases what is due; tells whether more is, or nothing where that is not known.
local function lease_due()
  while passed < LOOK_AT_MOST do
    local asked = math.min(most + 1 - #leased + (passed > 0 and 500 or 0), BATCH)
    local ids = redis.call('ZRANGEBYSCORE', q, looked_from, int(now), 'LIMIT', passed + #leased - before_look, asked)
    if #ids == 0 then return passed > 0 and nil end
    if is_off then return false end
    local is_enough, more = lease_others(ids, read_page(ids))
    if is_enough then return more end
    if passed == 0 and #ids < asked then return false end
  end
end

-- One that has waited takes nothing over, and says of nothing that it has: it may have been sent before the server was away.
if ARGV[9] == '1' then up, shortest = now, span else up, shortest = up_since(q, told_up, now, span) end
is_doubtful = up + shortest > now
local way = {}

-- What this very call did before, when its answer was lost: what was lost, or nothing where that can't be read.
function way.again()
  local readable, last = pcall(cmsgpack.unpack, string.sub(last_call, #call + 2))
  if readable and type(last) == 'table' then
    lease_again(last[2])
    return last[1]
  end
end

-- Reports what has ended: ids, the keys of what is known, and the groups, as claim.lua has found them. Returns the places of the
-- lost finishes.
function way.finish(ids, asked, groups)
  local lost = finish_all(ids, asked, groups)
  if has_buried then trim_dead() end
  return lost
end

-- What is to be leased and answered, unless it is known from the first time: ids, keys and texts of the leases; the answer so
-- far, the runs and the odd jobs that end it; whether more is due.
function way.lease(is_again)
  local more = nil
  if not is_again then
    if most > 0 then more = lease_due() end
    if has_buried then trim_dead() end
    call_many('ZREM', q, again)
    call_many('DEL', nil, again_jobs)
    if python_works then redis.call('SET', python_key, '1', 'PX', PYTHON_AWAY) end
  end
  call_many('ZADD', q, raised)
  return leased, leases, answer, dues, odd, more
end

-- Whether something is due that anybody may have, of what has not been looked at.
function way.is_more_due()
  return first_free(q, now, up, shortest) ~= nil
end

return way
