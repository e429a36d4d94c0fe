-- SPDX-License-Identifier: Apache-2.0
-- For wrk: one line "statuses 200=N 502=M" at the end, of all its threads.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  statuses = ""
  counts = {}
end

function response(status)
  counts[status] = (counts[status] or 0) + 1
  -- Only plain values leave a thread.
  if counts[status] % 1000 == 1 or status ~= 200 then
    remember()
  end
end

function remember()
  statuses = ""
  for status, count in pairs(counts) do
    statuses = statuses .. " " .. status .. "=" .. count
  end
end

function done()
  for _, thread in ipairs(threads) do
    print("statuses" .. thread:get("statuses"))
  end
end
