-- result.lua: a job's result, and whether the job lives.
-- KEYS[1] queue   ARGV[1] id
-- Returns { result or nil, 1 when it waits or runs else 0 }.   O(1).
-- Keeps true: seen in one step, so that an end between two looks is not taken for an unknown job.

-- with: common.lua

local lives = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
return { lives == 0 and get('arq:result:' .. ARGV[1]), lives }
