-- What a call to Stripe taught us about the pace, and what the breaker makes of it.
-- KEYS[1] pace   see pace.lua
-- ARGV    report "ok" | "limited" | "failed" | "look" | "moved", failures that open the breaker, first rate,
--         highest rate; for "moved" the instant up to which deadlines were moved, in ms
-- Returns {rate, now_ms, open_ms, moved_ms, closed_ms}; -1 for an instant that is not there. An outage begins at the
-- first of its failures. After it closed it stays on record until every deadline has been moved past it.
local call = redis.call
local report, failures_max = ARGV[1], tonumber(ARGV[2])
local first_rate, highest_rate = tonumber(ARGV[3]), tonumber(ARGV[4])
local FIELDS = {'rate', 'cut_ms', 'failures', 'failing_ms', 'open_ms', 'moved_ms', 'closed_ms'}
local CUT_PAUSE_MS = 1000

local time = call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found, pace = call('HMGET', KEYS[1], unpack(FIELDS)), {}
for i, field in ipairs(FIELDS) do pace[field] = tonumber(found[i]) end
local rate = math.min(pace.rate or first_rate, highest_rate)

if report == 'failed' then
  local failures = (pace.failures or 0) + 1
  local failing_ms = pace.failing_ms or now_ms
  call('HSET', KEYS[1], 'failures', failures, 'failing_ms', failing_ms)
  if failures >= failures_max and not pace.open_ms then
    pace.open_ms, pace.moved_ms = failing_ms, failing_ms
    call('HSET', KEYS[1], 'open_ms', failing_ms, 'moved_ms', failing_ms)
  elseif failures >= failures_max and pace.closed_ms then
    -- Down again before the deadlines were moved: it goes on as one outage.
    pace.closed_ms = nil
    call('HDEL', KEYS[1], 'closed_ms')
  end
elseif report == 'ok' or report == 'limited' then
  -- A rate limit is an answer, too: Stripe is there.
  if pace.failures then call('HDEL', KEYS[1], 'failures', 'failing_ms') end
  if pace.open_ms and not pace.closed_ms then
    pace.closed_ms = now_ms
    call('HSET', KEYS[1], 'closed_ms', now_ms)
  end
  -- The refusals of one burst are one lesson.
  if report == 'limited' and now_ms - (pace.cut_ms or 0) >= CUT_PAUSE_MS then
    rate = math.max(1, math.floor(rate / 2))
    call('HSET', KEYS[1], 'rate', rate, 'cut_ms', now_ms, 'raised_ms', now_ms, 'turn', 0)
  end
elseif report == 'moved' and pace.open_ms then
  pace.moved_ms = math.max(pace.moved_ms or 0, tonumber(ARGV[5]))
  if pace.closed_ms and pace.moved_ms >= pace.closed_ms then
    pace.open_ms, pace.moved_ms, pace.closed_ms = nil, nil, nil
    call('HDEL', KEYS[1], 'open_ms', 'moved_ms', 'closed_ms', 'probe_ms')
  else
    call('HSET', KEYS[1], 'moved_ms', pace.moved_ms)
  end
end
return {rate, now_ms, pace.open_ms or -1, pace.moved_ms or -1, pace.closed_ms or -1}
