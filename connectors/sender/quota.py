"""How many messages a minute a caller may send: a bucket in the broker for each, shared by all
processes and atomic (GCRA). It holds a minute's worth and fills evenly. The clock is the broker's.
"""

from __future__ import annotations

from lib.wakeups import broker

MINUTE = 60_000_000
MICROSECONDS = 1_000_000

# When the bucket would be full again; returns 0 and charges it, or the microseconds to wait.
TAKE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local gap, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = full - (burst - 1) * gap - now
if wait > 0 then return math.ceil(wait) end
full = full + gap
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return 0
"""


def take(bucket: str, *, rate: int) -> float:
    """Charge a caller for one message of ``rate`` a minute; return 0, or the seconds to wait.

    Raises:
        redis.exceptions.RedisError: the broker is away.
    """
    script = broker().register_script(TAKE)
    wait = script(keys=[f"sigma:sender:{bucket}"], args=[MINUTE / rate, rate])
    return int(wait) / MICROSECONDS
