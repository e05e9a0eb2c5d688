-- dead.lua: put dead letters back, or delete them.
-- KEYS[1] queue   ARGV[1] 'retry' or 'discard'   ARGV[2..] ids
-- Returns n digits in order: 1 done, 0 there is none (or, for a retry, its id is taken).   O(n log N).
-- Keeps true: a dead letter is in one place, its list or the queue.

-- with: common.lua

-- with: notes.lua

local q, retry, now = KEYS[1], ARGV[1] == 'retry', now_ms()
local dead, answers = q .. ':s7:dead', {}

local function revive(id, letter)
  if redis.call('EXISTS', 'arq:job:' .. id) == 1 or redis.call('ZSCORE', q, id) then return false end
  local payload = hmget(letter, 'p')[1]
  if not payload then return false end
  redis.call('DEL', 'arq:result:' .. id, 'arq:retry:' .. id, 'arq:in-progress:' .. id, 'arq:s7:hold:' .. id, meta(id), tries(id))
  redis.call('SET', 'arq:job:' .. id, payload)
  redis.call('ZADD', q, int(now), id)
  ring(q)
  return true
end

for i = 2, #ARGV do
  local id = ARGV[i]
  local letter = dead .. ':' .. id
  local there = redis.call('EXISTS', letter) == 1
  local done = there and (not retry or revive(id, letter))
  if done or not there then
    redis.call('DEL', letter)
    redis.call('ZREM', dead, id)
  end
  answers[#answers + 1] = done and 1 or 0
end
return table.concat(answers)
