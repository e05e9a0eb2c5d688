-- look.lua: is something due, and if not, when; what a waiting worker asks.
-- KEYS queues   ARGV[1] ms until it looks again by itself; 0: it does not, and rings for what is to come, too
-- ARGV[2] '1' to ring for what is due, so that one of the waiting workers wakes
-- Returns { 1 when something is due else 0, ms until the next is due, at most ARGV[1] }.   O(k log N).
-- Keeps true: whoever makes something due before `q:s7:look` rings the bell.

-- with: common.lua

-- with: notes.lua

local now, pause, due = now_ms(), tonumber(ARGV[1]), 0
for _, q in ipairs(KEYS) do
  allow_when_full(q)
  local free, again = first_free(q, now, up_since(q, get(q .. ':s7:up'), now))
  if again then pause = math.min(pause, again - now) end
  if free and not get(q .. ':s7:paused') then
    due = 1
    if ARGV[2] == '1' then ring(q) end
  else
    local next = redis.call('ZRANGEBYSCORE', q, '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if #next > 0 then
      local score = math.ceil(sane(tonumber(next[2])))
      if ARGV[1] == '0' then
        tell_due(q, score, now)
      else
        pause = math.min(pause, score - now)
      end
    end
    -- What it was rung for has been taken, or must wait: nobody is to come for it.
    if ARGV[1] ~= '0' and redis.call('LINDEX', q .. ':s7:bell', 0) == '1' then redis.call('DEL', q .. ':s7:bell') end
  end
end
if due == 0 and ARGV[1] ~= '0' then
  for _, q in ipairs(KEYS) do
    local look = tonumber(get(q .. ':s7:look'))
    if not look or look <= now or look > now + pause then
      redis.call('SET', q .. ':s7:look', int(now + pause), 'PX', int(math.max(pause, 1)))
    end
  end
end
return { due, int(pause) }
