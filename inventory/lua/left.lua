-- What may still be admitted and how much is held, of one instant: read one after the other, an admission in
-- between would look like no unit left and no hold open.
-- KEYS[1] avail, KEYS[2] hold, KEYS[3] gate
-- Returns {number of holds, relseq, epoch, sku, units, sku, units, ...}
local call = redis.call
local gate = call('HMGET', KEYS[3], 'relseq', 'epoch')
local answer = {call('HLEN', KEYS[2]), tonumber(gate[1]) or 0, tonumber(gate[2]) or 0}
local fields = call('HGETALL', KEYS[1])
for i = 1, #fields do answer[i + 3] = fields[i] end
return answer
