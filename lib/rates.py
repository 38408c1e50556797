"""How often something may be asked for in a minute, counted in the broker, so that all processes
count together. A bucket is one time (GCRA): when it would be full again.
"""

from __future__ import annotations

from redis.exceptions import RedisError

from lib.wakeups import broker

MINUTE, SECOND = 60_000_000, 1_000_000
CHARGE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local gap, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = full - (burst - 1) * gap - now
if wait > 0 then return math.ceil(wait) end
if ARGV[3] == '0' then return 0 end
full = full + gap
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return 0
"""


class RateExceeded(Exception):
    """Too much was asked for; ``seconds`` from now there may be more."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(f"{message}; try again in {seconds} s.")
        self.seconds = seconds


class CannotCount(Exception):
    """The broker cannot be reached; nothing was done. Try again."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def charge(bucket: str, *, rate: int, message: str, takes: bool = True) -> None:
    """Charge a bucket of ``rate`` a minute for one; so many at once, then evenly. Unless it
    ``takes``, only look whether it could.

    Raises:
        RateExceeded: it is empty; it says ``message`` and when to try again.
        CannotCount: the broker is away.
    """
    script = broker().register_script(CHARGE)
    try:
        wait = int(script(keys=[f"sigma:{bucket}"], args=[MINUTE / rate, rate, int(takes)]))
    except RedisError:
        raise CannotCount from None
    if wait:
        raise RateExceeded(message, wait // SECOND + 1)
