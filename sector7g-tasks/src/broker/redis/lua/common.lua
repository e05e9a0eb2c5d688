-- common.lua: what the scripts share, where they have it stand: «with: common.lua». It reads no KEYS or ARGV. What few need is in
-- notes.lua.
--
-- Keys, all derived from a queue's own name q and a job's id:
--   q                     zset    job id -> due at, ms; of a leased job: half a ms before the end of its lease, which tells it
--                                 from a job that nobody has had    (arq's)
--   arq:job:<id>          string  the encoded job                                                  (arq's)
--   arq:in-progress:<id>  string  who has it: '1' is a Python worker, else a lease, see below      (arq's)
--   arq:retry:<id>        string  attempts so far; not there before the first one, and while it runs, or 0 where something had
--                                 been noted of the job before it     (arq's)
--   arq:result:<id>       string  the encoded result                                               (arq's)
--   arq:s7:job:<id>       hash    f failures, a JSON object a line; x deliveries beyond the attempts, which may be fewer;
--                                 u unknown since, ms, when n attempts were counted; c left to Python workers
--                                 until, ms; b '1' when an abort is asked for; p progress; j digest of the job
--                                 that all this is of
--   arq:s7:tries:<id>     string  of a job that ended, but as no dead letter: digest of its result, then its failures, a
--                                 JSON object a line; for as long as the result is kept, a week at most
--   arq:s7:hold:<id>      string  keeps the id of an ended schedule's job taken
--   q:health-check        string  arq's line of what its worker has done, ours while one of our workers lives   (arq's)
--   q:s7:leases           hash    job id -> its score in the queue, which it had last by a lease of ours
--   q:s7:bell             list    at most one element: '1' «something is due», '0' «look at the queue»
--   q:s7:look             string  when the next waiting worker looks by itself, ms
--   q:s7:up               string  since when ours have asked of the queue without a gap, when the last one did, their shortest
--                                 lease, ms; how many gaps in a row came before they had done so for as long as that lease
--   q:s7:paused           string  while no worker of ours may claim: since when, ms
--   q:s7:python           string  while a Python worker has been seen at work of late
--   q:s7:expiring         string  while a job that one of ours has given an end may wait
--   q:s7:asked:<client>   zset    <number>:<an answer, 1 or 0, a job> -> number, of its enqueue calls that may come again;
--                                 ! -> the number below which it has settled all
--   q:s7:call:<worker>    string  the last call of a token's worker, of which a worker has three: its number, then as
--                                 MessagePack which finishes were lost, what it leased
--   q:s7:dead             zset    id of a dead letter -> when it died, ms
--   q:s7:dead:<id>        hash    p payload, f failures, a attempts; r digest of its result
--   q:s7:workers          zset    worker instance -> when its health entry runs out, ms
--   q:s7:worker:<name>    string  what it last said of itself, JSON
--   q:s7:none             -       never there: deleted in vain, see allow_when_full
-- And two of all queues, in slots of their own, which no script may touch:
--   arq:abort             zset    id of a job to be aborted -> when that was asked for, ms         (arq's)
--   arq:s7:queues         zset    queue's name -> when it was last used, ms

-- A lease, as kept in arq:in-progress:<id>:
--   <token> <end, ms> <due at, ms> <expires at, ms, or 0> <its span, ms> <since when, ms> <1 or 0>
-- At 0 its job has no end as far as anybody has looked, which is at a claim or at its first heartbeat. The last says
-- whether attempts or notes of the job may be stored: at a first one that runs, its lease is all there is.
-- The key outlives the lease, so that a late finish is told from a stale one and a lost lease is
-- noticed; until then a Python worker leaves the job alone, too.

local BATCH = 1000               -- unpack() fails near 8,000 values
local AFTERLIFE = 30000          -- ms that the key of a lease outlives it, at least: for so long Redis may be away
local ATTEMPTS_TTL = 88400       -- s; arq's own
local MAX_FAILURES = 20
local MOST_ATTEMPTS = 2147483647
local LEFT_TO_PYTHON = 1000      -- ms that a due job of an unknown task is left alone, at most; arq polls each 500
local BELL_TTL = 60000           -- ms
local BATCH_BYTES = 4194304      -- of payloads in one answer, or one payload that is larger by itself
local LEASES_AT_MOST = 1000      -- of a queue's, looked at in one call
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
    -- What is too large for the short way is also too large for a score; no number is neither.
    text = string.format(n >= -9e15 and n <= 9e15 and '%d' or '%.0f', n)
    if n == n then written[n] = text end -- what is no number is no key either
  end
  return text
end

-- Calls a command with all of a list, after a key if there is one; returns the sum of the answers.
local function call_many(command, key, list)
  local sum = 0
  for from = 1, #list, BATCH do
    local to = math.min(from + BATCH - 1, #list)
    sum = sum + (key and redis.call(command, key, unpack(list, from, to)) or redis.call(command, unpack(list, from, to)))
  end
  return sum
end

-- The same with a command that answers with as many values as it takes: these.
local function ask_many(command, key, list)
  local answers = {}
  for from = 1, #list, BATCH do
    local to = math.min(from + BATCH - 1, #list)
    local part = key and redis.call(command, key, unpack(list, from, to)) or redis.call(command, unpack(list, from, to))
    if to == #list and from == 1 then return part end
    for i = 1, #part do answers[from + i - 1] = part[i] end
  end
  return answers
end

-- Of each id, what its key of this prefix holds or false; and the keys, as making them is dear.
local function mget(prefix, ids)
  local keys = {}
  for i = 1, #ids do keys[i] = prefix .. ids[i] end
  return ask_many('MGET', nil, keys), keys
end

-- Of each id, its score in the queue or false: ids are one space for all queues.
local function scores_of(q, ids)
  return ask_many('ZMSCORE', q, ids)
end

-- A score that can be said in digits: other producers may write any.
local function sane(score)
  if score > 9e15 then return 9e15 elseif score < -9e15 then return -9e15 end
  return score
end

local GAP = 1000                 -- ms without a call, at least, in which a lease could not have been renewed
local TOLD_EVERY = 200           -- ms

-- Since when the server is known to answer, by those who ask of the queue: a gap of half the shortest lease begins anew.
-- But not a fourth time in a row where nobody asked for as long as that lease in between: it may be those who ask that never
-- live so long, and what others lost is to be taken over at last. Who lives renews his leases thrice in their time.
-- Also that lease; nothing at all where nobody has leased a job. `span` is the caller's lease, if it has one.
local function up_since(q, up, now, span)
  local first, last, shortest, short = string.match(up or '', '^(%d+) (%d+) (%d+) (%d+)$')
  if not last and not span then return nil end
  first, last, short = tonumber(first), tonumber(last) or 0, tonumber(short) or 0
  shortest = math.min(tonumber(shortest) or span, span or shortest)
  if now - last > math.max(shortest / 2, GAP) then
    short = first and last - first < shortest and short + 1 or 0
    if not first or short <= 3 then first, last, shortest = now, 0, span or shortest end
  end
  if now - last > TOLD_EVERY then
    redis.call('SET', q .. ':s7:up', int(first) .. ' ' .. int(now) .. ' ' .. int(shortest) .. ' ' .. int(short), 'PX',
      int(math.max(3600000, shortest))) -- pauses between starts grow to minutes
  end
  return first, shortest
end

-- What the key holds as text, or false. Other programs may store anything under any key: MGET takes what is of another
-- type as absent.
local function get(key)
  return redis.call('MGET', key)[1]
end

-- Redis refuses the first write of a script when its memory is full, but none after one that takes no memory. What
-- drains a queue, and what keeps its leases, must go on.
local function allow_when_full(q)
  redis.call('DEL', q .. ':s7:none')
end

-- The score of a job whose lease ends then.
local function mark_of(ends)
  return int(ends - 1) .. '.5'
end

local function meta(id)
  return 'arq:s7:job:' .. id
end

-- Before a job is given an end: claims need not ask each of theirs for one where this is not there.
local function expect_expiry(q, ms)
  local key = q .. ':s7:expiring'
  if redis.call('PTTL', key) <= ms then redis.call('SET', key, '1', 'PX', int(math.max(0, ms) + AFTERLIFE)) end
end

local function ring(q, what)
  local bell = q .. ':s7:bell'
  if redis.call('EXISTS', bell) == 0 then
    -- Nobody is to come for what is due in a paused queue.
    redis.call('RPUSH', bell, what or get(q .. ':s7:paused') and '0' or '1')
    redis.call('PEXPIRE', bell, BELL_TTL) -- who waits looks by itself before that
  end
end

-- Wakes a waiting worker if something is due at `score` before any of them looks by itself, which who has asked says.
local function tell_due(q, score, now, look)
  if score <= now then return ring(q) end
  if look == nil then look = get(q .. ':s7:look') end
  look = tonumber(look)
  if look and score < look then ring(q, '0') end
end
