-- Counts one request of one key under all of its limits, all or nothing.
--
-- KEYS[1]  the key's windows: "per end used", one after the other; times are in
--          microseconds, ends since 1970
-- ARGV     the request's cost; then per (microseconds) and requests of each limit
-- returns  1 if it is allowed, else 0; then used and microseconds to its end of
--          each limit's window
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])

-- Live windows, by per. One that ends later than a new one would was written by
-- another clock, before a failover: it counts as ended, or it might last for ages.
local ends, used = {}, {}
for per, finish, count in string.gmatch(redis.call('GET', KEYS[1]) or '', '(%d+) (%d+) (%d+)') do
  finish = tonumber(finish)
  if finish > now and finish <= now + per then
    ends[per], used[per] = finish, tonumber(count)
  end
end

local allowed = 1
for i = 2, #ARGV, 2 do
  if (used[ARGV[i]] or 0) + cost > tonumber(ARGV[i + 1]) then
    allowed = 0
  end
end

local answer = {allowed}
for i = 2, #ARGV, 2 do
  local per = ARGV[i]
  if allowed == 1 then
    ends[per], used[per] = ends[per] or now + per, (used[per] or 0) + cost
  end
  answer[#answer + 1] = used[per] or 0
  answer[#answer + 1] = (ends[per] or now + per) - now
end

if allowed == 1 then
  local windows, last = {}, now
  for per, finish in pairs(ends) do
    windows[#windows + 1] = string.format('%s %.0f %.0f', per, finish, used[per])
    last = math.max(last, finish)
  end
  -- A second more than the windows last: it is their ends that count.
  redis.call('SET', KEYS[1], table.concat(windows, ' '), 'PX', math.ceil((last - now) / 1000) + 1000)
end
return answer
