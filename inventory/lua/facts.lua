-- What the gate says of itself; a key of another kind in its place is no gate.
-- KEYS[1] gate
-- Returns {epoch or 0, relseq or 0, run_id or ""}
local call = redis.call
if call('TYPE', KEYS[1]).ok ~= 'hash' then return {0, 0, ''} end
local gate = call('HMGET', KEYS[1], 'epoch', 'relseq', 'run_id')
return {tonumber(gate[1]) or 0, tonumber(gate[2]) or 0, gate[3] or ''}
