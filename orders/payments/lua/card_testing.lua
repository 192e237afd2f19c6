-- How tries to pay end: counted for a session, an address and a card, and over all.
-- KEYS  1 over all: a hash of d<slot> and o<slot> (declines, outcomes in ten seconds) and alarm_ms (up until then)
--       2, 3 sessions, 4, 5 addresses, 6, 7 cards: the window now and the one before, hashes of name → declines;
--       for an address also name:o → outcomes
-- ARGV  1 "look" | "count", 2 now in ms, 3 session, 4 address, 5 card (may be empty), 6 declined (0 or 1),
--       7 names a window may hold, 8 how long a window is kept in ms, 9 how far the alarm looks back in ms,
--       10 how long it stays up in ms, 11 outcomes it needs, 12 declines in a hundred that raise it
-- Returns for "look" {alarm left in ms, declines of session, declines and outcomes of address, declines of card};
--         for "count" {1 when this raised the alarm}.
local call = redis.call
local verb, now_ms = ARGV[1], tonumber(ARGV[2])
local session, address, card, declined = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local SLOT_MS = 10000

local function counted(first, name)
  if name == '' then return 0 end
  return tonumber(call('HGET', KEYS[first], name) or 0) + tonumber(call('HGET', KEYS[first + 1], name) or 0)
end

-- A full window takes no new name: an attack that fills it has long raised the alarm.
local function count(first, name, by)
  if name == '' or by == 0 then return end
  local key = KEYS[first]
  if call('HEXISTS', key, name) == 0 and call('HLEN', key) >= tonumber(ARGV[7]) then return end
  call('HINCRBY', key, name, by)
  call('PEXPIRE', key, ARGV[8])
end

local alarm_ms = tonumber(call('HGET', KEYS[1], 'alarm_ms') or 0)
if verb == 'look' then
  return {math.max(0, alarm_ms - now_ms), counted(2, session), counted(4, address), counted(4, address .. ':o'),
    counted(6, card)}
end

count(2, session, declined)
count(6, card, declined)
count(4, address, declined)
count(4, address .. ':o', 1)

local slot, slots = math.floor(now_ms / SLOT_MS), math.floor(tonumber(ARGV[9]) / SLOT_MS)
call('HINCRBY', KEYS[1], 'o' .. slot, 1)
if declined == 1 then call('HINCRBY', KEYS[1], 'd' .. slot, 1) end
local outcomes, declines = 0, 0
local all = call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local kind, of = string.sub(all[i], 1, 1), tonumber(string.sub(all[i], 2))
  -- Clocks of processes differ a little, so the next slot may have begun already.
  if of and (of <= slot - slots or of > slot + slots) then
    call('HDEL', KEYS[1], all[i])
  elseif of and kind == 'o' then
    outcomes = outcomes + tonumber(all[i + 1])
  elseif of then
    declines = declines + tonumber(all[i + 1])
  end
end
local raised = 0
if outcomes >= tonumber(ARGV[11]) and declines * 100 >= tonumber(ARGV[12]) * outcomes then
  if alarm_ms < now_ms then raised = 1 end
  call('HSET', KEYS[1], 'alarm_ms', now_ms + tonumber(ARGV[10]))
end
call('PEXPIRE', KEYS[1], math.max(tonumber(ARGV[9]), tonumber(ARGV[10])) + SLOT_MS)
return {raised}
