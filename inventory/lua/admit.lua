-- Admit a batch of orders of one stream: each order whole or not at all, the same key the same answer.
-- KEYS[1] avail   hash sku -> units that may still be admitted
-- KEYS[2] hold    hash op in hex -> cmsgpack {fingerprint in hex, adm, shopper, at_ms, sku, quantity, sku, quantity, ...}
-- KEYS[3] limit   hash shopper:sku -> units admitted
-- KEYS[4] gate    hash epoch, ver, relseq, run_id
-- ARGV[1] cmsgpack {epoch, items}; an item is {op in hex, fingerprint in hex, adm, shopper, sku, quantity, limit_max, ...}
-- Returns {ver, relseq, answer, ...}, one answer an item:
--   "O" admitted | "D<adm>" held already under adm | "F" held with another fingerprint
--   | "L<units the shopper has>" limit | "S<units left>" short | "X" closed
-- Everything is read and decided before the first write; HSET comes first, so that a server out of memory
-- refuses the script as a whole.
local call, pack, unpack_message = redis.call, cmsgpack.pack, cmsgpack.unpack
local batch = unpack_message(ARGV[1])
local epoch, items = batch[1], batch[2]
local CHUNK = 4000

-- Read many fields of a hash into a table, in chunks that fit the Lua stack.
local function read(key, fields)
  local found = {}
  for start = 1, #fields, CHUNK do
    local stop = math.min(start + CHUNK - 1, #fields)
    local values = call('HMGET', key, unpack(fields, start, stop))
    for i = start, stop do found[fields[i]] = values[i - start + 1] end
  end
  return found
end

local function write(key, pairs_flat)
  for start = 1, #pairs_flat, CHUNK do
    call('HSET', key, unpack(pairs_flat, start, math.min(start + CHUNK - 1, #pairs_flat)))
  end
end

local gate = call('HMGET', KEYS[4], 'epoch', 'ver', 'relseq')
local ver, relseq = tonumber(gate[2]) or 0, tonumber(gate[3]) or 0
local answers = {ver, relseq}
if tonumber(gate[1]) ~= epoch then
  for i = 1, #items do answers[i + 2] = 'X' end
  return answers
end

local ops, skus, people, seen = {}, {}, {}, {}
for _, item in ipairs(items) do
  ops[#ops + 1] = item[1]
  for n = 5, #item, 3 do
    local sku, person = item[n], item[4] .. ':' .. item[n]
    if not seen[sku] then seen[sku] = true; skus[#skus + 1] = sku end
    if not seen[person] then seen[person] = true; people[#people + 1] = person end
  end
end
local held, avail, units = read(KEYS[2], ops), read(KEYS[1], skus), read(KEYS[3], people)
for sku, left in pairs(avail) do avail[sku] = tonumber(left) end
for person, had in pairs(units) do units[person] = tonumber(had) or 0 end

-- One order against what is left after the ones before it in the batch.
local function decide(item)
  local hold = held[item[1]]
  if hold then
    local known = unpack_message(hold)
    if known[1] ~= item[2] then return 'F' end
    return 'D' .. known[2]
  end
  for n = 5, #item, 3 do
    if not avail[item[n]] then return 'X' end
  end
  for n = 5, #item, 3 do
    local had = units[item[4] .. ':' .. item[n]] or 0
    if had + item[n + 1] > item[n + 2] then return 'L' .. had end
  end
  for n = 5, #item, 3 do
    if avail[item[n]] < item[n + 1] then return 'S' .. math.max(avail[item[n]], 0) end
  end
  return 'O'
end

local time = call('TIME')
local at_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local new_holds, touched_skus, touched_people = {}, {}, {}
for i, item in ipairs(items) do
  local answer = decide(item)
  if answer == 'O' then
    local hold = {item[2], item[3], item[4], at_ms}
    for n = 5, #item, 3 do
      local sku, quantity, person = item[n], item[n + 1], item[4] .. ':' .. item[n]
      hold[#hold + 1] = sku
      hold[#hold + 1] = quantity
      avail[sku] = avail[sku] - quantity
      units[person] = (units[person] or 0) + quantity
      touched_skus[sku], touched_people[person] = true, true
    end
    local packed = pack(hold)
    held[item[1]] = packed
    new_holds[#new_holds + 1] = item[1]
    new_holds[#new_holds + 1] = packed
  end
  answers[i + 2] = answer
end

if #new_holds > 0 then
  local new_avail, new_limits = {}, {}
  for sku in pairs(touched_skus) do
    new_avail[#new_avail + 1] = sku
    new_avail[#new_avail + 1] = avail[sku]
  end
  for person in pairs(touched_people) do
    new_limits[#new_limits + 1] = person
    new_limits[#new_limits + 1] = units[person]
  end
  ver = ver + 1
  write(KEYS[2], new_holds)
  write(KEYS[1], new_avail)
  write(KEYS[3], new_limits)
  call('HSET', KEYS[4], 'ver', ver)
  answers[1] = ver
end
return answers
