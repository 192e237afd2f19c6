-- Put a stream's gate in place from SQL's truth, in one step; only if its epoch is newer than what is there.
-- KEYS[1] avail, KEYS[2] hold, KEYS[3] limit, KEYS[4] gate
-- ARGV[1] cmsgpack {epoch, relseq, run_id, {sku, units, ...}, {shopper:sku, units, ...}}
-- Returns {ver, epoch in force}.
local call = redis.call
local CHUNK = 4000
local message = cmsgpack.unpack(ARGV[1])
local kind = call('TYPE', KEYS[4]).ok
if kind ~= 'hash' and kind ~= 'none' then call('DEL', KEYS[4]) end -- somebody put another thing in its place
local gate = call('HMGET', KEYS[4], 'epoch', 'ver')
local epoch, ver = tonumber(gate[1]) or 0, tonumber(gate[2]) or 0
if epoch >= message[1] then return {ver, epoch} end
ver = ver + 1
call('HSET', KEYS[4], 'epoch', message[1], 'ver', ver, 'relseq', message[2], 'run_id', message[3])
call('DEL', KEYS[1], KEYS[2], KEYS[3])
for place, fields in ipairs({message[4], message[5]}) do
  local key = place == 1 and KEYS[1] or KEYS[3]
  for start = 1, #fields, CHUNK do
    call('HSET', key, unpack(fields, start, math.min(start + CHUNK - 1, #fields)))
  end
end
return {ver, message[1]}
