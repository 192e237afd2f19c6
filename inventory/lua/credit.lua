-- SQL will never have these orders under these admissions: take away those very holds and give back their units.
-- KEYS[1] avail, KEYS[2] hold, KEYS[3] limit, KEYS[4] gate
-- ARGV[1] cmsgpack {{op in hex, adm}, ...}
-- Returns {ver, number of holds credited}.
local call = redis.call
local items = cmsgpack.unpack(ARGV[1])
local gone, back, people, seen = {}, {}, {}, {}
for _, item in ipairs(items) do
  local hold = not seen[item[1]] and call('HGET', KEYS[2], item[1])
  seen[item[1]] = true
  local known = hold and cmsgpack.unpack(hold)
  if known and known[2] == item[2] then
    gone[#gone + 1] = item[1]
    for n = 5, #known, 2 do
      local person = known[3] .. ':' .. known[n]
      back[known[n]] = (back[known[n]] or 0) + known[n + 1]
      people[person] = (people[person] or 0) + known[n + 1]
    end
  end
end
local ver = tonumber(call('HGET', KEYS[4], 'ver')) or 0
if #gone > 0 then
  local avail, limits = {}, {}
  for sku, quantity in pairs(back) do
    local left = tonumber(call('HGET', KEYS[1], sku))
    if left then avail[#avail + 1] = sku; avail[#avail + 1] = left + quantity end
  end
  for person, quantity in pairs(people) do
    local had = tonumber(call('HGET', KEYS[3], person)) or 0
    limits[#limits + 1] = person
    limits[#limits + 1] = math.max(had - quantity, 0)
  end
  ver = ver + 1
  call('HSET', KEYS[4], 'ver', ver)
  for i = 1, #avail, 2 do call('HSET', KEYS[1], avail[i], avail[i + 1]) end
  for i = 1, #limits, 2 do call('HSET', KEYS[3], limits[i], limits[i + 1]) end
  for i = 1, #gone do call('HDEL', KEYS[2], gone[i]) end
end
return {ver, #gone}
