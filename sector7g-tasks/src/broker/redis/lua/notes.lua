-- notes.lua: of what is stored for a job, what few calls of a script need. Where a script wants it stands «with: notes.lua»:
-- in a function of its own, so that only such a call spends the time to make these functions.

local function tries(id)
  return 'arq:s7:tries:' .. id
end

local function moment_of(text)
  return sane(tonumber(text) or 0)
end

local function read_lease(value)
  if not value then return nil end
  local token, ends, due, expires, span, since, noted =
    string.match(value, '^(%S+) (%d+) (%-?%d+) (%d+) (%d+) (%d+) ([01])$')
  if not token then return { foreign = true } end
  return { token = token, ends = moment_of(ends), due = moment_of(due), expires = moment_of(expires), span = moment_of(span),
    since = moment_of(since), noted = noted }
end

-- When a job expires, which it does no more once it has started in time: ms, or 0.
local function keep_from_expiring(job_key, now)
  local ttl = redis.call('PTTL', job_key)
  if ttl < 0 then return '0' end
  redis.call('PERSIST', job_key)
  return int(now + ttl)
end

-- Whether somebody has the job now.
local function is_held(lease, now)
  return lease ~= nil and (lease.foreign or lease.ends > now)
end

-- The fields, none where something else is stored under the key.
local function hmget(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if not values.err then return values end
  if not string.find(values.err, 'WRONGTYPE', 1, true) then redis.call('HMGET', key, ...) end -- fails as it should
  return {}
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

-- The same of a job that may run: its lease says that there are notes, so that they go with it.
local function note_running(id, value, ...)
  local lease = read_lease(value)
  if lease and lease.noted == '0' then
    redis.call('SET', 'arq:in-progress:' .. id, string.sub(value, 1, -2) .. '1', 'KEEPTTL')
  end
  set_meta(id, 0, ...)
  return lease
end

-- The attempts of a job that runs, or whose lease was lost: the first is counted by its lease.
local function attempts_of_leased(text)
  return math.max(1, count_of(text))
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

-- Until when a due job of a task that we do not know is left to Python workers, who poll; 0 when it is not.
local function left_until(known_c, known_b, score)
  return not known_b and math.min(moment_of(known_c), score + LEFT_TO_PYTHON) or 0
end

-- From when on a lease of `span` that ended then may be taken over, the server being known to answer since `up`: while it
-- was away nobody could renew one. When it has answered for half a lease before the end, its worker could have; when it
-- has not, that one has a lease's time to come back.
local function lost_from(ends, span, up)
  return ends - up >= span / 2 and ends or math.max(ends, up + span)
end

-- When the lease ended of a job whose key is gone, if it had one last: one that was moved since is not where that ended.
local function lost_end(mark, score)
  return mark and tonumber(mark) == score and math.ceil(score)
end

-- Most jobs have no notes, and then one command says so for all.
local function have_notes(ids)
  local keys = {}
  for i = 1, #ids do keys[i] = meta(ids[i]) end
  return redis.call('EXISTS', unpack(keys)) > 0
end

-- The score of the first due job that nobody has; when the first of those before it that are only left to others for a while
-- is; how many of them Python workers have, and how many ours.
local function first_free(q, now, up, span)
  local seen, from, at, again, foreign, ours = 0, '-inf', 0, nil, 0, 0
  while seen < LOOK_AT_MOST do
    local size = seen == 0 and 1 or 500
    local page = redis.call('ZRANGEBYSCORE', q, from, int(now), 'WITHSCORES', 'LIMIT', at, size)
    if #page == 0 then break end
    local ids = {}
    for i = 1, #page, 2 do ids[#ids + 1] = page[i] end
    local values, noted = mget('arq:in-progress:', ids), have_notes(ids)
    local marks = up and up + span > now and ask_many('HMGET', q .. ':s7:leases', ids) or {}
    for i = 1, #ids do
      local score, lease = sane(tonumber(page[2 * i])), read_lease(values[i])
      if score == 0 then
        from, at = '(0', 0 -- as in claim.lua
        break
      elseif not is_held(lease, now) then
        local known = noted and hmget(meta(ids[i]), 'c', 'b') or {}
        local till = left_until(known[1], known[2], score)
        local lost_at = lease and lease.ends or lost_end(marks[i], score)
        if up and lost_at then till = math.max(till, lost_from(lost_at, lease and lease.span or span, up)) end
        if till <= now then return math.ceil(score), again, foreign, ours end
        again = math.min(again or till, till)
      elseif lease.foreign then
        foreign = foreign + 1
      else
        ours = ours + 1
      end
      seen, at = seen + 1, at + 1
    end
  end
  return nil, again, foreign, ours
end
