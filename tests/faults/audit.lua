-- audit.lua: every job is in one place, and all that belongs to it is there.
-- KEYS[1] queue   ARGV[1] '1' when workers of ours alone serve it   ARGV[2] what its jobs' ids begin with
-- Returns sentences, one for each violation.   O(n log n) for n jobs; a test's.

local q, ours_alone, ours = KEYS[1], ARGV[1] == '1', ARGV[2]
local found = {}
local function tell(id, what) found[#found + 1] = id .. ' ' .. what end
local function exists(...) return redis.call('EXISTS', ...) > 0 end

-- Of all keys of a kind, the ids of this queue; KEYS knows no text that is none of its patterns.
local function ids_of(kind)
  local ids = {}
  for _, key in ipairs(redis.call('KEYS', kind .. '*')) do
    local id = string.sub(key, #kind + 1)
    if string.sub(id, 1, #ours) == ours then ids[#ids + 1] = id end
  end
  return ids
end

local waiting = {}
for _, id in ipairs(redis.call('ZRANGE', q, 0, -1)) do
  waiting[id] = true
  local may_expire = string.find(id, '%-too%-late$') or string.find(id, '%-tight$') -- that takes the payload
  if not may_expire and not exists('arq:job:' .. id) then tell(id, 'is queued, without its payload') end
  if exists('arq:result:' .. id) then tell(id, 'is queued, and has its result') end
  if redis.call('ZSCORE', q .. ':s7:dead', id) then tell(id, 'is queued, and a dead letter') end
end
for _, id in ipairs(ids_of('arq:job:')) do
  if not waiting[id] then tell(id, 'has a payload, and is not queued') end
end
if ours_alone then
  for _, id in ipairs(redis.call('HKEYS', q .. ':s7:leases')) do
    if not waiting[id] then tell(id, 'is leased, and not queued') end
    if not exists('arq:in-progress:' .. id) then
      local ends = tonumber(redis.call('HGET', q .. ':s7:leases', id))
      local now = redis.call('TIME')
      if ends > now[1] * 1000 then tell(id, 'is leased, and nobody has it') end
    end
  end
  for _, id in ipairs(ids_of('arq:in-progress:')) do
    if not waiting[id] then tell(id, 'is in progress, and not queued') end
  end
end
for _, id in ipairs(redis.call('ZRANGE', q .. ':s7:dead', 0, -1)) do
  if not exists(q .. ':s7:dead:' .. id) then tell(id, 'is a dead letter without its text') end
  if not exists('arq:result:' .. id) then tell(id, 'is a dead letter without its result') end
end
return found
