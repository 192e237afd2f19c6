-- One budget of Stripe calls for all processes: take from it, or learn how long to wait.
-- KEYS[1] pace   hash of integers: rate (calls a second), raised_ms, cut_ms; at_ms, pay, keep, turn (buckets, in
--                thousandths of a call); failures, failing_ms; open_ms, probe_ms, closed_ms, moved_ms (the breaker)
-- ARGV    kind "pay" | "keep" | "turn", how many (turn) or the longest wait in ms (pay, keep),
--         first rate, highest rate, pause between probes in ms
-- Returns {0, wait_ms} taken | {1, wait_ms} too long a wait, nothing taken | {2, wait_ms} breaker open, nothing taken;
--         for "turn" {0, turns}.
-- A fifth of the rate fills "keep", which refunds, cancels and look-ups live on; what it cannot hold, and the
-- rest, fills "pay" and "turn" alike, so that turns are given at the rate at which they can be paid.
local call = redis.call
local kind, amount = ARGV[1], tonumber(ARGV[2])
local first_rate, highest_rate, probe_pause_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local FIELDS = {'rate', 'raised_ms', 'at_ms', 'pay', 'keep', 'turn', 'open_ms', 'closed_ms', 'probe_ms'}
local KEEP_SHARE, RAISE_EVERY_MS = 5, 10000

local time = call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found, pace = call('HMGET', KEYS[1], unpack(FIELDS)), {}
for i, field in ipairs(FIELDS) do pace[field] = tonumber(found[i]) end

local rate = math.min(pace.rate or first_rate, highest_rate)
local raised_ms, at_ms = pace.raised_ms or now_ms, pace.at_ms or (now_ms - 1000)
local pay, keep, turn = pace.pay or 0, pace.keep or 0, pace.turn or 0

-- Additive rise: a twentieth of the highest rate every ten seconds, at least one call a second.
local steps = math.floor((now_ms - raised_ms) / RAISE_EVERY_MS)
if steps > 0 then
  raised_ms = raised_ms + steps * RAISE_EVERY_MS
  rate = math.min(highest_rate, rate + steps * math.max(1, math.floor(highest_rate / 20)))
end

-- A rate of calls a second is that many thousandths of a call in a millisecond. Buckets are small, so that no
-- second holds many more calls than the rate says; a clock that stepped back fills nothing.
local filled = math.max(0, math.min(now_ms - at_ms, 60000)) * rate
local to_keep = math.floor(filled / KEEP_SHARE)
local keep_max = math.max(1000, rate * 150)
local spill = math.max(0, keep + to_keep - keep_max)
keep = keep + to_keep - spill
local rest = filled - to_keep + spill
pay = math.min(math.max(1000, rate * 100), pay + rest)
turn = math.min(math.max(1000, rate * 500), turn + rest)

local open = pace.open_ms and not pace.closed_ms
local probe_ms, answer = pace.probe_ms or 0, nil
if kind == 'turn' then
  -- No turns while nobody can pay, nor while payers already queue for more than a second.
  local turns = math.floor(turn / 1000)
  if open or pay < -1000 * rate then turns = 0 end
  turns = math.max(0, math.min(turns, amount))
  turn = turn - turns * 1000
  answer = {0, turns}
elseif open and now_ms < probe_ms then
  answer = {2, probe_ms - now_ms}
else
  if open then probe_ms = now_ms + probe_pause_ms end
  local wait_ms
  if kind == 'keep' and keep < 1000 and pay >= 1000 then
    pay, wait_ms = pay - 1000, 0
  elseif kind == 'keep' then
    wait_ms = math.max(0, math.ceil((1000 - keep) * KEEP_SHARE / rate))
    if wait_ms <= amount then keep = keep - 1000 end
  else
    wait_ms = math.max(0, math.ceil((1000 - pay) * KEEP_SHARE / (rate * (KEEP_SHARE - 1))))
    if wait_ms <= amount then pay = pay - 1000 end
  end
  answer = {wait_ms <= amount and 0 or 1, wait_ms}
end

call('HSET', KEYS[1], 'rate', rate, 'raised_ms', raised_ms, 'at_ms', math.max(at_ms, now_ms), 'pay', pay,
  'keep', keep, 'turn', turn, 'probe_ms', probe_ms)
return answer
