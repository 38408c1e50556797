"""How fast a number may send, and how fast to one person: buckets in the broker, shared by all
workers and atomic.

Both are GCRA (a bucket described by one time: when the next send is due). A number's sends are
reserved as a row of *slots*, evenly spaced and a moment ahead, so that no second holds more than
the rate, wherever it begins. The clock is the broker's. Without the broker nothing is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from redis.commands.core import Script

from lib.wakeups import broker

# Slots are given out this far ahead: more would leave more messages in doubt when a process dies. A
# process whose claims come late, on a busy machine, asks for more, or slots would go by unused.
AHEAD_SECONDS, FURTHEST_AHEAD_SECONDS = 0.1, 0.3
# What is kept back of a number's rate for sends that leave late and arrive close together.
HEADROOM = 0.05
# To one person 45 messages at once and one back every six seconds (Meta, "Throughput": pair rate
# limit: a burst is borrowed from the messages to come). A person has one bucket, however addressed.
PAIR_SECONDS, PAIR_BURST = 6.0, 45
# Who comes back in his turn may be so much early: the wait began when his claim did.
PAIR_SLACK = 0.25
# After "too fast" a number goes at half its pace, which doubles again in this time; complaints of
# one burst count once.
RECOVERY_SECONDS, BURST_SECONDS, SLOWEST = 30.0, 1.0, 1 / 16
MICROSECONDS = 1_000_000

# Of each number: when the next send is due, and since when it goes slower by which factor. Returns
# per number: slots given, microseconds until the first, microseconds between them.
SLOTS = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local ahead, taking, recovery = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local found = {}
for i, key in ipairs(KEYS) do
    local want, gap = tonumber(ARGV[2 * i + 2]), tonumber(ARGV[2 * i + 3])
    local row = redis.call('HMGET', key, 'due', 'factor', 'since')
    if row[2] then
        gap = gap / math.min(1, tonumber(row[2]) * 2 ^ ((now - tonumber(row[3])) / recovery))
    end
    gap = math.ceil(gap)
    local due = math.max(tonumber(row[1] or 0), now)
    local given = math.max(0, math.min(want, math.ceil((now + ahead - due) / gap)))
    if taking and given > 0 then
        redis.call('HSET', key, 'due', string.format('%.0f', due + given * gap))
        redis.call('EXPIRE', key, 3600)
    end
    found[i] = {given, due - now, gap}
end
return found
"""
SLOWER = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local recovery, burst, slowest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local row = redis.call('HMGET', KEYS[1], 'factor', 'since')
local factor = 1
if row[1] then
    local since = now - tonumber(row[2])
    if since < burst then return 0 end
    factor = math.min(1, tonumber(row[1]) * 2 ^ (since / recovery))
end
factor = math.max(slowest, factor / 2)
redis.call('HSET', KEYS[1], 'factor', tostring(factor), 'since', string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], 3600)
return 1
"""
# Of each person: 0 and the bucket is charged, or the microseconds until its turn: those that wait
# stand in a row, one behind the other, or all would come back at once, and again.
PAIRS = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local gap, burst, slack = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local waits = {}
for i, key in ipairs(KEYS) do
    local row = redis.call('HMGET', key, 'due', 'last')
    local due, last = math.max(tonumber(row[1] or 0), now), tonumber(row[2] or 0)
    local free = due - (burst - 1) * gap
    if free > now + slack then
        last = math.max(free, last + gap)
        waits[i] = last - now
        redis.call('HSET', key, 'last', string.format('%.0f', last))
    else
        due = due + gap
        waits[i] = 0
        redis.call('HSET', key, 'due', string.format('%.0f', due))
    end
    redis.call('PEXPIRE', key, math.ceil((math.max(due, last) - now) / 1000))
end
return waits
"""
HOLD = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local row = redis.call('HMGET', KEYS[1], 'due', 'last')
local due = math.max(tonumber(row[1] or 0), now + tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'due', string.format('%.0f', due))
redis.call('PEXPIRE', KEYS[1], math.ceil((math.max(due, tonumber(row[2] or 0)) - now) / 1000))
return 0
"""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Moments to send at: how many, seconds from now to the first, seconds between."""

    count: int
    wait: float
    gap: float


# Ours and a number's UUID; a person is named by his contact's.
Pair = tuple[UUID, UUID]


def slots(
    wanted: Mapping[UUID, tuple[int, int]], *, taking: bool, ahead: float = AHEAD_SECONDS
) -> dict[UUID, Reserved]:
    """Return when each number may begin up to as many sends as are wanted within ``ahead`` seconds;
    each is (how many, rate per second). With ``taking`` these moments are reserved.

    Raises:
        redis.exceptions.RedisError: the broker is away.
    """
    if not wanted:
        return {}
    args: list[int | float] = [_micro(ahead), int(taking), _micro(RECOVERY_SECONDS)]
    for count, rate in wanted.values():
        args += [count, MICROSECONDS / (rate * (1 - HEADROOM))]
    found = _script(SLOTS)(keys=[_number(one) for one in wanted], args=args)
    return {
        one: Reserved(count, wait / MICROSECONDS, gap / MICROSECONDS)
        for one, (count, wait, gap) in zip(wanted, found, strict=True)
    }


def slow_down(workspace_id: UUID) -> bool:
    """Halve a number's pace for a while; return whether this complaint counted.

    Raises:
        redis.exceptions.RedisError: the broker is away.
    """
    args = [_micro(RECOVERY_SECONDS), _micro(BURST_SECONDS), SLOWEST]
    return bool(_script(SLOWER)(keys=[_number(workspace_id)], args=args))


def take_pairs(pairs: Sequence[Pair]) -> list[float]:
    """Charge each person's bucket; return for each 0, or the seconds until its turn comes.

    Raises:
        redis.exceptions.RedisError: the broker is away.
    """
    if not pairs:
        return []
    args = [_micro(PAIR_SECONDS), PAIR_BURST, _micro(PAIR_SLACK)]
    waits = _script(PAIRS)(keys=[_pair(pair) for pair in pairs], args=args)
    return [wait / MICROSECONDS for wait in waits]


def hold_pair(pair: Pair, seconds: float) -> None:
    """Let nothing more go to a person for a while: the platform said it was too much.

    Raises:
        redis.exceptions.RedisError: the broker is away.
    """
    full = _micro(seconds + (PAIR_BURST - 1) * PAIR_SECONDS)
    _script(HOLD)(keys=[_pair(pair)], args=[full])


def _script(text: str) -> Script:
    return broker().register_script(text)


def _number(workspace_id: UUID) -> str:
    return f"sigma:pace:{workspace_id}"


def _pair(pair: Pair) -> str:
    return f"sigma:pair:{pair[0]}:{pair[1]}"


def _micro(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
