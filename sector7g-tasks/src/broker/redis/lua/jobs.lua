-- jobs.lua: what is known of jobs: of one, or of a page of a queue's.
-- KEYS[1] queue   ARGV[1] 'one' id | 'live' limit mark-score mark-id | 'running' or 'dead', the same (mark '' for the first page)
-- Returns { mark of the last (score, id) or nil, { of each: id, state, payload, result, attempt, due at, failures,
--   progress, abort asked, worker that has it ('': Python's), since when, ms } }, absent values as false.
--   O(limit log N). More than LEASES_AT_MOST that run come in any order, by marks of their own; one of them may be told twice.
-- Keeps true: it changes nothing.

-- with: common.lua

-- with: notes.lua

local LEASES_AT_ONCE = 100

local q, now = KEYS[1], now_ms()
local dead = q .. ':s7:dead'

local function live(id, score)
  local lease, count = read_lease(get('arq:in-progress:' .. id)), count_of(get('arq:retry:' .. id))
  score = sane(score)
  local marked = score
  score = math.ceil(score)
  local payload, known = payload_of(id), hmget(meta(id), 'f', 'p', 'b', 'j')
  if known[4] and not is_noted_of(known[4], payload) then known = { false, false, false } end
  local state, due = score > now and 'deferred' or 'queued', score
  if is_held(lease, now) then state, due = 'running', lease.due or score end
  local is_lost = not lease and lost_end(redis.call('HMGET', q .. ':s7:leases', id)[1], marked)
  if is_lost or lease and not lease.foreign then count = attempts_of_leased(count) end
  return { id, state, payload, false, int(count),
    int(due), known[1] or false, known[2] or false, known[3] or false,
    state == 'running' and string.match(lease.token or '', '^(%x*)'),
    state == 'running' and lease.since and int(lease.since) or false }
end

-- The result of an id may be that of a later job, here, in another queue, or of a Python worker.
local function letter(id, died)
  local kept, result = hmget(dead .. ':' .. id, 'p', 'f', 'a', 'r'), get('arq:result:' .. id)
  local own = result and kept[4] == digest(result) and result
  return { id, 'dead', kept[1] or false, own, int(count_of(kept[3])), int(sane(died)), kept[2] or false, false, false, false,
    false },
    result and not own
end

-- The newest end first. A result may be that of another queue's job, as only its reader can tell: then the next counts.
local function one(id)
  local score = redis.call('ZSCORE', q, id)
  if score then return { live(id, tonumber(score)) } end
  local died, older = redis.call('ZSCORE', dead, id), nil
  if died and redis.call('EXISTS', dead .. ':' .. id) == 1 then
    local record, is_older = letter(id, tonumber(died))
    if not is_older then return { record } end
    older = record
  end
  local result = get('arq:result:' .. id)
  if not result then return {} end
  local failed = get(tries(id))
  failed = failed and string.sub(failed, 1, 40) == digest(result) and string.sub(failed, 41)
  return { { id, 'complete', false, result, '0', '0', failed, false, false, false, false }, older }
end

-- By rank, so that a page costs the same however many jobs share a moment.
local function start_after(key, score, id, newest_first)
  if score == '' then return 0 end
  local rank = redis.call(newest_first and 'ZREVRANK' or 'ZRANK', key, id)
  if rank and tonumber(redis.call('ZSCORE', key, id)) == tonumber(score) then return rank + 1 end
  if newest_first then return redis.call('ZCOUNT', key, '(' .. score, '+inf') end
  return redis.call('ZCOUNT', key, '-inf', score)
end

local function page(key, newest_first, read)
  local limit, from = tonumber(ARGV[2]), start_after(key, ARGV[3], ARGV[4], newest_first)
  local found = redis.call(newest_first and 'ZREVRANGE' or 'ZRANGE', key, from, from + limit - 1, 'WITHSCORES')
  local records = {}
  for i = 1, #found, 2 do records[#records + 1] = (read(found[i], tonumber(found[i + 1]))) end
  local more = from + limit < redis.call('ZCARD', key)
  return { more and #found > 0 and { found[#found], found[#found - 1] } or false, records }
end

-- Leases are in no order, as each claim would pay for it: very many are told as they come. A mark is a cursor, and how many of
-- what it leads to have been looked at; it leads to whole rows of the table, which may be more than a page has room for.
local function scan_leases(key, cursor, seen, limit)
  local reply = redis.call('HSCAN', key, cursor, 'COUNT', int(LEASES_AT_ONCE))
  local found, records, at = reply[2], {}, 2 * seen
  while at < #found and #records < limit do
    local id, mark = found[at + 1], tonumber(found[at + 2])
    if mark > now then records[#records + 1] = live(id, mark) end
    at = at + 2
  end
  if at < #found then return { { cursor, int(at / 2) }, records } end
  return { reply[1] ~= '0' and { reply[1], '0' } or false, records }
end

-- All others in that of their leases' ends.
local function running()
  local key, limit = q .. ':s7:leases', tonumber(ARGV[2])
  if string.find(ARGV[3], '^%d+$') then return scan_leases(key, ARGV[3], tonumber(ARGV[4]) or 0, limit) end -- ends have a fraction
  local leases, last, held = redis.call('HRANDFIELD', key, int(LEASES_AT_MOST + 1), 'WITHVALUES'), tonumber(ARGV[3]) or now, {}
  if #leases > 2 * LEASES_AT_MOST then return scan_leases(key, '0', 0, limit) end
  for i = 1, #leases, 2 do
    local id, mark = leases[i], tonumber(leases[i + 1])
    if mark > math.max(last, now) or mark == last and id > ARGV[4] then held[#held + 1] = { id = id, mark = mark } end
  end
  table.sort(held, function(a, b) return a.mark < b.mark or a.mark == b.mark and a.id < b.id end)
  local records = {}
  for i = 1, math.min(limit, #held) do records[i] = live(held[i].id, held[i].mark) end
  local mark = held[limit]
  return { #held > limit and { string.format('%.1f', mark.mark), mark.id } or false, records }
end

if ARGV[1] == 'one' then
  return { false, one(ARGV[2]) }
elseif ARGV[1] == 'live' then
  return page(q, false, live)
elseif ARGV[1] == 'running' then
  return running()
end
return page(dead, true, letter)
