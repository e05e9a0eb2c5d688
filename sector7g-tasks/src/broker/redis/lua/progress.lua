-- progress.lua: store how far a running job is, while the caller holds its lease.
-- KEYS[1] queue   ARGV[1] id   ARGV[2] token   ARGV[3] progress
-- Returns 1 stored, 0 the lease is lost.   O(1).

-- with: common.lua

-- with: notes.lua

local value = get('arq:in-progress:' .. ARGV[1])
local lease = read_lease(value)
if not lease or lease.token ~= ARGV[2] then return 0 end
note_running(ARGV[1], value, 'p', ARGV[3])
return 1
