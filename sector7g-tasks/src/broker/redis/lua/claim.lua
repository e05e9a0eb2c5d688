-- claim.lua: report what has ended, then lease due jobs; one call, all or nothing.
-- KEYS[1] queue
-- ARGV[1] worker   ARGV[2] number of this call of the worker's   ARGV[3] lease, ms   ARGV[4] how many jobs at most
-- ARGV[5] dead letters kept at most   ARGV[6] their age at most, ms
-- ARGV[7] a lost lease as a failure, JSON with @attempt and @at to be filled in   ARGV[8] number of finishes
-- ARGV[9] '1' it has waited on its connection for something to be due, else '0'
-- ARGV[10..] groups of finishes: token, kind, how many; of each its id; and of a kind
--   'd' ended, and nothing of it is kept: no more
--   'k<ms>' ended, with a result that is kept for so long, 'k' for ever: the result
--   and of all others four values more:
--   'e' result (or ''), ms to keep it ('' for ever), last failure of a dead letter (or ''), ms to hold the id
--   'r' delay, ms; failure; attempt; ''
--   'g' delay, ms; 's' stop, 'z' snooze or 'u' unknown task; ''; ''
-- Returns one list, as each list within it costs Redis a look for what else it could be:
--   now, more due: 0 or 1, how many finishes were lost, how many jobs are odd, how many runs of jobs due at one moment;
--   of each job two values: id, payload or nil; a job whose id is no text is told so once, and is a dead letter;
--   of each run, two: how many jobs, due at;
--   of each odd job, which is not plainly at its first attempt, five: its place among the jobs, from 1, attempt, delivery,
--   abort asked: 0 or 1, unknown since or 0;   the places of the lost finishes, from 1.
-- O((n + m) log N), whatever else is due or runs, plus what Python workers hold at the head of the queue.
-- Keeps true: one live lease a job; an attempt is counted before it is handed out; only the newest token
--   ends a job; its result is there before it leaves the queue.

-- Most of what ends has ended well at its first attempt, and of most of what is due nothing is known: that is done here, without
-- a function, as to make one costs half a microsecond in each call anew. All else is left to the general way.
local function make_general(now, known)
  -- with: common.lua
  -- with: claim_any.lua
end

local ask, find, byte, format, unpack = redis.call, string.find, string.byte, string.format, unpack
local BATCH_BYTES = 4194304
local AFTERLIFE = 30000
local TOLD_EVERY = 200
local GAP = 1000
local BELL_TTL = 60000
local PLAIN = 48                 -- as in claim_any.lua, the others as in common.lua
local MANY = 8                   -- jobs for which it pays to make trees and tables of what are lists
local SEVEN, COLON = 55, 58      -- of an id, its UUID's version, and what ends its queue's name

local q, worker, call, span, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local call_key, leases_key, finishes = q .. ':s7:call:' .. worker, q .. ':s7:leases', tonumber(ARGV[8])
local time = ask('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text, general, lost = format('%d', now), nil, nil

-- What has ended, and what is known of it and of the queue. Lists are made as long as they are to become, of the numbers of some
-- string's bytes, which are then written over: to grow one value by value costs more than what is done with it.
local signs = string.rep(' ', 2 * finishes)
local asked, ended, deleted = { call_key, q .. ':s7:up', q .. ':s7:look', q .. ':s7:paused', q .. ':s7:python', q .. ':s7:expiring',
  byte(signs, 1, finishes) }, { byte(signs, 1, finishes) }, { byte(signs, 1, -1) }
local plain, groups, results, kept, at, told = true, {}, {}, {}, 10, 0
while told < finishes do
  local kind, size, to = ARGV[at + 1], tonumber(ARGV[at + 2]), #groups
  local keep = string.match(kind, '^k(%d*)$')
  groups[to + 1], groups[to + 2], groups[to + 3], groups[to + 4] = ARGV[at] .. ' ', told + size, kind, at + 3
  plain = plain and (kind == 'd' or keep)
  at = at + 3
  for i = told + 1, told + size do
    local id = ARGV[at]
    local key, job_key = 'arq:in-progress:' .. id, 'arq:job:' .. id
    ended[i], asked[i + 6], deleted[2 * i - 1], deleted[2 * i] = id, key, job_key, key
    if kind == 'd' then
      at = at + 1
    elseif keep then
      local to = #kept + 1
      results[2 * to - 1], results[2 * to], kept[to] = 'arq:result:' .. id, ARGV[at + 1], keep
      at = at + 2
    else
      at = at + 5
    end
  end
  told = told + size
end
local known = ask('MGET', unpack(asked))
local last = known[1] and string.match(known[1], '^%x+')
local is_again = last == call
if last and not is_again and tonumber(last, 16) > tonumber(call, 16) then
  -- It is sent until it is answered, and only then comes the next: this one has gone round, or was given up.
  return redis.error_reply('OVERTAKEN a later claim of this worker has come before this one, which has changed nothing')
end
plain = plain and finishes > 0 and not is_again
local group, same = 1, nil
for i = 1, plain and finishes or 0 do
  local lease = known[i + 6]
  while i > groups[group + 1] do group, same = group + 4, nil end
  if not lease or lease ~= same and (find(lease, groups[group], 1, true) ~= 1 or byte(lease, -1) ~= PLAIN) then
    plain = false
    break
  end
  same = lease -- a finish need not know what else a lease says, which of most is the same
end

-- The first write takes no memory: a Redis whose memory is full refuses only that one.
if not plain then ask('DEL', q .. ':s7:none') end
if is_again then
  general = make_general(now, known)
  lost = general.again()
  is_again = lost ~= nil
end
if is_again or finishes == 0 then
  lost = lost or {}
elseif plain and ask('HDEL', leases_key, unpack(ended)) == finishes then
  if #results > 0 then ask('MSET', unpack(results)) end
  local keep, till = nil, nil
  for i = 1, #kept do
    if kept[i] ~= keep then keep, till = kept[i], kept[i] ~= '' and format('%d', now + kept[i]) end
    if till then ask('PEXPIREAT', results[2 * i - 1], till) end
  end
  ask('ZREM', q, unpack(ended))
  ask('DEL', unpack(deleted))
  lost = {}
else
  -- One that is told twice, or is a job of another queue, may be among them, which is all the same to the general way.
  general = general or make_general(now, known)
  lost = general.finish(ended, asked, groups)
end

-- Since when the server is known to answer: as `up_since` in common.lua. A call that was sent long ago does not say so.
if ARGV[9] == '0' then
  local first, last_asked, shortest, gaps = string.match(known[2] or '', '^(%d+) (%d+) (%d+) (%d+)$')
  if not first or now - last_asked > GAP then
    general = general or make_general(now, known)
  elseif now - last_asked > TOLD_EVERY and not general then
    shortest = math.min(tonumber(shortest), span)
    known[2] = first .. ' ' .. now_text .. ' ' .. format('%d', shortest) .. ' ' .. gaps
    ask('SET', q .. ':s7:up', known[2], 'PX', format('%d', math.max(3600000, shortest)))
  end
end

-- What is due: plain where all have ids that are text, of none anything is noted or leased, and none had a lease that was lost. What
-- is noted of a job that waits counts only beside its attempts.
plain = not is_again and most > 0 and not known[4] and not known[5]
local ids = plain and ask('ZRANGEBYSCORE', q, '-inf', now_text, 'LIMIT', '0', format('%d', most + 1)) or {}
local many, all, jobs, are_hex = #ids, table.concat(ids), nil, false
if many > 0 then
  local retries = { byte(all, 1, many) }
  jobs = { byte(all, 1, many) }
  -- Most ids are of hexadecimal digits, which as a number, up to its end or a zero byte, are soon seen.
  are_hex = tonumber(all, 16) and not find(all, '\0', 1, true)
  plain = are_hex or not find(all, '[\128-\255]')
  for i = 1, many do
    local id = ids[i]
    plain = plain and id ~= ''
    retries[i], jobs[i] = 'arq:retry:' .. id, 'arq:job:' .. id
  end
  plain = plain and ask('EXISTS', unpack(retries)) == 0
end

-- Its payloads, and when each was due: of many at once, as to print a score is dear, and what was enqueued in one call is due at
-- one moment.
local ends_at, mark, count, bytes, limit = format('%d', now + span), format('%d.5', now + span - 1), 0, 0, math.min(many, most)
local answer, leases, marks, dues, persisted = { 0, 0, 0, 0, 0 }, nil, nil, {}, {}
if plain and limit > 0 then
  answer, leases = { 0, 0, 0, 0, 0, byte(all, 1, 2 * limit) }, { byte(all, 1, 2 * limit) }
  -- What ZADD takes of the leases from its second value on; HSET takes the same from the third, or from the first, where that is
  -- to make a table of them.
  marks = { '', mark, byte(all, 1, 2 * limit) }
  local due, scores = ask('ZSCORE', q, ids[1]), nil
  if limit > 1 and due ~= ask('ZSCORE', q, ids[limit]) then scores = ask('ZMSCORE', q, unpack(ids, 1, limit)) end
  local head, tail = worker .. '-' .. call .. ' ' .. ends_at .. ' ', ' ' .. ARGV[3] .. ' ' .. now_text .. ' 0'
  local found, before, read, size = nil, 0, 0, 8
  local text, said_due, said_expires, run, may_expire = nil, nil, nil, 0, known[6]
  while plain and count < limit and bytes < BATCH_BYTES do
    local place = count + 1
    if place > read then
      -- Few beyond those that one answer takes: each may be large.
      if bytes > 0 then size = math.min(size, math.ceil((BATCH_BYTES - bytes) * read / bytes)) end
      before, read = read, math.min(limit, read + size)
      found, size = ask('MGET', unpack(jobs, place, read)), math.min(4 * size, 64)
    end
    local id, payload, expires, to = ids[place], found[place - before], '0', 2 * place
    -- A job with an id as our clients make them expires only where they say so. If another's has an end, it goes with the first
    -- heartbeat, retry or snooze; its worker would have to be killed in a third of a lease before that end.
    if may_expire or byte(id, -20) ~= SEVEN or not (are_hex and #id == 32 or byte(id, -33) == COLON and find(id, '^%x+$', -32)) then
      local ttl = ask('PTTL', jobs[place])
      if ttl >= 0 then persisted[#persisted + 1], expires = jobs[place], format('%d', now + ttl) end
    end
    if scores then due = scores[place] end
    if due ~= said_due then
      plain = find(due, '^[1-9]%d*$') -- no mark of a lease
      if run > 0 then dues[#dues + 1], dues[#dues + 2] = run, said_due end
      said_due, said_expires, run = due, nil, 0
    end
    if expires ~= said_expires then text, said_expires = head .. due .. ' ' .. expires .. tail, expires end
    plain = plain and payload
    count, run, bytes = place, run + 1, bytes + (payload and #payload or 0)
    leases[to - 1], leases[to], marks[to + 1], marks[to + 2] = 'arq:in-progress:' .. id, text, id, mark
    answer[to + 4], answer[to + 5] = id, payload
  end
  dues[#dues + 1], dues[#dues + 2] = run, said_due
  for i = 2 * count + 1, 2 * limit do answer[i + 5], leases[i], marks[i + 2] = nil, nil, nil end
  plain = plain and ask('MSETNX', unpack(leases)) == 1
end
local leased, odd, more = ids, {}, many > count
for i = many, count + 1, -1 do leased[i] = nil end
if not plain then
  general = general or make_general(now, known)
  leased, leases, answer, dues, odd, more = general.lease(is_again)
  count, persisted, marks = #leased, {}, { '', mark }
  for i = 1, count do marks[2 * i + 1], marks[2 * i + 2] = leased[i], mark end
  if count > 0 then ask('MSET', unpack(leases)) end
end

if count > 0 then
  -- With MSET before, one command for all and a short one for each cost less than one that does both for each.
  local kept_until = format('%d', now + span + math.max(span, AFTERLIFE))
  for i = 1, 2 * count, 2 do ask('PEXPIREAT', leases[i], kept_until) end
  -- A sorted set of up to 128 short members, and a hash of up to 512, is a list by default, which each command goes through for each
  -- member that it names. A long one makes a tree or table of it, which it stays until it is empty. One of another's is let be.
  -- No job that can be leased has such an id, as it is no text: a byte more than Redis keeps in a list by default.
  local are_many = count >= MANY
  if are_many then
    marks[1] = string.rep('\255', 65)
    if ask('ZCARD', q) <= 128 and ask('ZADD', q, 'NX', '0', marks[1]) == 1 then ask('ZREM', q, marks[1]) end
  end
  ask('ZADD', q, unpack(marks, 2, 2 * count + 1))
  ask('HSET', leases_key, unpack(marks, are_many and 1 or 3))
  if are_many then ask('HDEL', leases_key, marks[1]) end
  for i = 1, #persisted do ask('PERSIST', persisted[i]) end -- what has started in time expires no more
end
ask('SET', call_key, call .. ' ' .. cmsgpack.pack({ lost, leased }), 'PX', format('%d', math.max(2 * span, 60000)))

-- Wakes a waiting worker: to look, if all of them would only after these leases' end, or to claim, if more is due.
local look = count > 0 and tonumber(known[3])
if known[4] then
  more = false
elseif more == nil then
  more = general.is_more_due()
end
local bell = look and now + span < look and '0' or more and '1'
if bell and ask('EXISTS', q .. ':s7:bell') == 0 then
  ask('RPUSH', q .. ':s7:bell', bell)
  ask('PEXPIRE', q .. ':s7:bell', BELL_TTL)
end

answer[1], answer[2], answer[3], answer[4], answer[5] = now_text, more and 1 or 0, #lost, #odd / 5, #dues / 2
local to = #answer
for i = 1, #dues do answer[to + i] = dues[i] end
to = to + #dues
for i = 1, #odd do answer[to + i] = odd[i] end
to = to + #odd
for i = 1, #lost do answer[to + i] = lost[i] end
return answer
