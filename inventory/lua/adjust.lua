-- Free stock changed on the SQL side (release, restock, total changed, late sale): apply adjustments in order.
-- KEYS[1] avail, KEYS[2] limit, KEYS[3] gate
-- ARGV[1] cmsgpack {epoch, {{seq, sku, delta, shopper or "", limit_delta}, ...}}, ascending by seq
-- Returns {ver, relseq, epoch}: the relay pulls what comes after relseq.
-- A row applies only if its seq is relseq + 1, so a replay changes nothing.
local call = redis.call
local message = cmsgpack.unpack(ARGV[1])
local gate = call('HMGET', KEYS[3], 'epoch', 'ver', 'relseq')
local epoch, ver, relseq = tonumber(gate[1]) or 0, tonumber(gate[2]) or 0, tonumber(gate[3]) or 0
if epoch ~= message[1] then return {ver, relseq, epoch} end
local start, avail, limits = relseq, {}, {}
for _, row in ipairs(message[2]) do
  if row[1] == relseq + 1 then
    relseq = row[1]
    avail[row[2]] = (avail[row[2]] or 0) + row[3]
    if row[4] ~= '' then
      local person = row[4] .. ':' .. row[2]
      limits[person] = (limits[person] or 0) + row[5]
    end
  end
end
if relseq > start then
  local fields, people = {}, {}
  for sku, delta in pairs(avail) do
    local left = tonumber(call('HGET', KEYS[1], sku))
    if left then fields[#fields + 1] = sku; fields[#fields + 1] = left + delta end
  end
  for person, delta in pairs(limits) do
    people[#people + 1] = person
    people[#people + 1] = math.max((tonumber(call('HGET', KEYS[2], person)) or 0) + delta, 0)
  end
  ver = ver + 1
  call('HSET', KEYS[3], 'ver', ver, 'relseq', relseq)
  for i = 1, #fields, 2 do call('HSET', KEYS[1], fields[i], fields[i + 1]) end
  for i = 1, #people, 2 do call('HSET', KEYS[2], people[i], people[i + 1]) end
end
return {ver, relseq, epoch}
