-- common.lua: what the scripts share. It stands before each of them and reads no KEYS or ARGV.
--
-- Keys, all derived from a queue's own name q and a job's id:
--   q                     zset    job id -> due at, ms; of a leased job: the end of its lease      (arq's)
--   arq:job:<id>          string  the encoded job                                                  (arq's)
--   arq:in-progress:<id>  string  who has it: '1' is a Python worker, else a lease, see below      (arq's)
--   arq:retry:<id>        string  attempts so far                                                  (arq's)
--   arq:result:<id>       string  the encoded result                                               (arq's)
--   arq:s7:job:<id>       hash    f failures, a JSON object a line; x deliveries beyond the attempts, which may be fewer;
--                                 u unknown since, ms, when n attempts were counted; c left to Python workers
--                                 until, ms; b '1' when an abort is asked for; p progress; j digest of the job
--                                 that all this is of
--   arq:s7:hold:<id>      string  keeps the id of an ended schedule's job taken
--   q:health-check        string  arq's line of what its worker has done, ours while one of our workers lives   (arq's)
--   q:s7:leases           zset    job id -> end of its lease, ms
--   q:s7:bell             list    at most one element: «look at the queue»
--   q:s7:look             string  when the next waiting worker looks by itself, ms
--   q:s7:grace            string  while no lost lease is taken over, as Redis itself had been away
--   q:s7:paused           string  while no worker of ours may claim: since when, ms
--   q:s7:python           string  while a Python worker has been seen at work of late
--   q:s7:asked:<client>   zset    <number>:<an answer, 1 or 0, a job> -> number, of its enqueue calls that may come again;
--                                 ! -> the number below which it has settled all
--   q:s7:call:<worker>    string  the worker's last call, MessagePack: its number, what its finishes came to, what it leased
--   q:s7:dead             zset    id of a dead letter -> when it died, ms
--   q:s7:dead:<id>        hash    p payload, f failures, a attempts; r digest of its result
--   q:s7:workers          zset    worker instance -> when its health entry runs out, ms
--   q:s7:worker:<name>    string  what it last said of itself, JSON
--   q:s7:none             -       never there: deleted in vain, see allow_when_full
-- And two of all queues, in slots of their own, which no script may touch:
--   arq:abort             zset    id of a job to be aborted -> when that was asked for, ms         (arq's)
--   arq:s7:queues         zset    queue's name -> when it was last used, ms

-- A lease, as kept in arq:in-progress:<id>:  <token> <end, ms> <due at, ms> <expires at, ms, or 0>
-- The key outlives the lease, so that a late finish is told from a stale one and a lost lease is
-- noticed; until then a Python worker leaves the job alone, too.

local BATCH = 1000               -- unpack() fails near 8,000 values
local AFTERLIFE = 5000           -- ms that the key of a lease outlives it, at least
local ATTEMPTS_TTL = 88400       -- s; arq's own
local MAX_FAILURES = 20
local MOST_ATTEMPTS = 2147483647
local LEFT_TO_PYTHON = 1000      -- ms that a due job of an unknown task is left alone, at most; arq polls each 500
local BELL_TTL = 60000           -- ms
local BATCH_BYTES = 4194304      -- of payloads in one answer, or one payload that is larger by itself
local LOOK_AT_MOST = 2000        -- due members that are Python workers' to take, passed over in one call

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Numbers beyond 2^31 would be written as 1.7e+12. Writing one costs a microsecond, and a batch's jobs share most.
local written = {}
local function int(n)
  local text = written[n]
  if not text then
    text = string.format('%.0f', n)
    if n == n then written[n] = text end -- what is no number is no key either
  end
  return text
end

local function each_batch(list, act)
  for from = 1, #list, BATCH do
    act(from, math.min(from + BATCH - 1, #list))
  end
end

-- Of each id, what its key of this prefix holds or false; and the keys, as making them is dear.
local function mget(prefix, ids)
  local keys = {}
  for i = 1, #ids do keys[i] = prefix .. ids[i] end
  if #keys > 0 and #keys <= BATCH then return redis.call('MGET', unpack(keys)), keys end
  local values = {}
  each_batch(keys, function(from, to)
    local found = redis.call('MGET', unpack(keys, from, to))
    for i = 1, #found do values[from + i - 1] = found[i] end
  end)
  return values, keys
end

-- Of each id, its score in the queue or false: ids are one space for all queues.
local function scores_of(q, ids)
  local scores = {}
  each_batch(ids, function(from, to)
    local found = redis.call('ZMSCORE', q, unpack(ids, from, to))
    for i = 1, #found do scores[from + i - 1] = found[i] end
  end)
  return scores
end

-- Returns the sum of the answers.
local function call_many(command, key, list)
  local sum = 0
  each_batch(list, function(from, to)
    if key then
      sum = sum + redis.call(command, key, unpack(list, from, to))
    else
      sum = sum + redis.call(command, unpack(list, from, to))
    end
  end)
  return sum
end

-- A score that can be said in digits: other producers may write any.
local function sane(score)
  if score > 9e15 then return 9e15 elseif score < -9e15 then return -9e15 end
  return score
end

local function moment_of(text)
  return sane(tonumber(text) or 0)
end

local function read_lease(value)
  if not value then return nil end
  local token, ends, due, expires = string.match(value, '^(%S+) (%d+) (%-?%d+) (%d+)$')
  if not token then return { foreign = true } end
  return { token = token, ends = moment_of(ends), due = moment_of(due), expires = moment_of(expires) }
end

-- Whether somebody has the job now.
local function is_held(lease, now)
  return lease ~= nil and (lease.foreign or lease.ends > now)
end

-- For how long the key of a lease of `span` is kept.
local function kept_for(span)
  return int(span + math.max(span, AFTERLIFE))
end

-- Other programs may store anything under any key: what is of another type counts as absent.
local function read(command, key, ...)
  local value = redis.pcall(command, key, ...)
  if type(value) ~= 'table' or not value.err then return value end
  if not string.find(value.err, 'WRONGTYPE', 1, true) then redis.call(command, key, ...) end -- fails as it should
  return false
end

local function get(key)
  return read('GET', key)
end

local function hmget(key, ...)
  return read('HMGET', key, ...) or {}
end

-- The payload, or false when it has run out.
local function payload_of(id)
  return get('arq:job:' .. id)
end

-- Attempts so far; what can't be a count is none, or as many as there can be.
local function count_of(text)
  local count = tonumber(text) or 0
  return count == count and math.floor(math.max(0, math.min(MOST_ATTEMPTS, count))) or 0
end

-- Redis refuses the first write of a script when its memory is full, but none after one that takes no memory. What
-- drains a queue, and what keeps its leases, must go on.
local function allow_when_full(q)
  redis.call('DEL', q .. ':s7:none')
end

local function meta(id)
  return 'arq:s7:job:' .. id
end

-- Tells a job, or a result, from a later one of its id: a Python worker ends a job and leaves our notes behind.
local function digest(bytes)
  return redis.sha1hex(bytes or '')
end

-- Whether notes with this digest are of the job with this payload. When it has run out, nothing tells, and they stay.
local function is_noted_of(known, payload)
  return not payload or known == digest(payload)
end

local function set_meta(id, delay, ...)
  local payload, known = payload_of(id), hmget(meta(id), 'j')[1]
  if not is_noted_of(known, payload) then redis.call('DEL', meta(id)) end
  redis.call('HSET', meta(id), 'j', payload and digest(payload) or known or digest(), ...)
  redis.call('PEXPIRE', meta(id), int(ATTEMPTS_TTL * 1000 + delay))
end

-- The failures with one more, the last MAX_FAILURES of them.
local function add_failure(failures, failure)
  if not failures or failures == '' then return failure end
  local _, lines = string.gsub(failures, '\n', '\n')
  local all = failures .. '\n' .. failure
  while lines + 2 > MAX_FAILURES do
    all = string.sub(all, string.find(all, '\n', 1, true) + 1)
    lines = lines - 1
  end
  return all
end

local function ring(q)
  local bell = q .. ':s7:bell'
  if redis.call('EXISTS', bell) == 0 then
    redis.call('RPUSH', bell, '1')
    redis.call('PEXPIRE', bell, BELL_TTL) -- who waits looks by itself before that
  end
end

-- Wakes a waiting worker if something is due at `score` before any of them looks by itself.
local function tell_due(q, score, now)
  if score <= now then return ring(q) end
  local look = tonumber(get(q .. ':s7:look'))
  if look and score < look then ring(q) end
end

local function is_paused(q)
  return redis.call('EXISTS', q .. ':s7:paused') == 1
end

-- Most jobs have no notes, and then one command says so for all.
local function have_notes(ids)
  local keys = {}
  for i = 1, #ids do keys[i] = meta(ids[i]) end
  return redis.call('EXISTS', unpack(keys)) > 0
end

-- Until when a due job of a task that we do not know is left to Python workers, who poll; 0 when it is not.
local function left_until(known_c, known_b, score)
  return not known_b and math.min(moment_of(known_c), score + LEFT_TO_PYTHON) or 0
end

-- The score of the first due job that nobody has, how many due ones before it are not ours to take, and when the
-- first of those that are only left to others for a while is.
local function first_free(q, now)
  local held, again = 0, nil
  while held < LOOK_AT_MOST do
    local size = held == 0 and 1 or 500
    local page = redis.call('ZRANGEBYSCORE', q, '-inf', int(now), 'WITHSCORES', 'LIMIT', held, size)
    if #page == 0 then return nil, held, again end
    local ids = {}
    for i = 1, #page, 2 do ids[#ids + 1] = page[i] end
    local values, noted = mget('arq:in-progress:', ids), have_notes(ids)
    for i = 1, #ids do
      local score = sane(tonumber(page[2 * i]))
      if score ~= 0 and not is_held(read_lease(values[i]), now) then
        local known = noted and hmget(meta(ids[i]), 'c', 'b') or {}
        local till = left_until(known[1], known[2], score)
        if till <= now then return score, held, again end
        again = math.min(again or till, till)
      end
      held = held + 1
    end
  end
  return nil, held, again
end
