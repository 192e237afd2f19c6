-- rate: one token of a bucket that holds a period's worth and refills evenly.
-- KEYS  1 the bucket: the instant (microseconds) at which it will be full again; expires when it is.
-- ARGV  1 tokens a period (the bucket's size), 2 the period in milliseconds.
-- Returns 0 when a token was taken, else the milliseconds until there is one.
local size, period = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local after = full + period / size
local wait = after - now - period
-- Less than a microsecond is rounding: period / size need not be a whole number.
if wait >= 1 then
  return math.ceil(wait / 1000)
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
return 0
