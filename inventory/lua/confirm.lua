-- SQL has these orders under these admissions: forget their holds. Nothing is given back.
-- KEYS[1] hold, KEYS[2] gate
-- ARGV[1] cmsgpack {{op in hex, adm}, ...}
-- Returns {ver, number of holds forgotten}.
local call = redis.call
local CHUNK = 4000
local items = cmsgpack.unpack(ARGV[1])
local gone = {}
for start = 1, #items, CHUNK do
  local ops, stop = {}, math.min(start + CHUNK - 1, #items)
  for i = start, stop do ops[#ops + 1] = items[i][1] end
  local holds = call('HMGET', KEYS[1], unpack(ops))
  for i = start, stop do
    local hold = holds[i - start + 1]
    if hold and cmsgpack.unpack(hold)[2] == items[i][2] then gone[#gone + 1] = items[i][1] end
  end
end
local ver = tonumber(call('HGET', KEYS[2], 'ver')) or 0
if #gone > 0 then
  ver = ver + 1
  call('HSET', KEYS[2], 'ver', ver)
  for start = 1, #gone, CHUNK do
    call('HDEL', KEYS[1], unpack(gone, start, math.min(start + CHUNK - 1, #gone)))
  end
end
return {ver, #gone}
