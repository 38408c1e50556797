"""Meta's rate limits: of every number, pair of people, account and portfolio.

https://developers.facebook.com/documentation/business-messaging/whatsapp/messaging-limits
https://developers.facebook.com/documentation/business-messaging/whatsapp/throughput
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.world import BusinessAccount, PhoneNumber

PER_SECOND = {"STANDARD": 80.0, "HIGH": 1000.0}
COEXISTENCE = 20.0
PAIR_RATE, PAIR_BURST = 1 / 6, 45
HOUR = 3600.0
PER_HOUR, PER_HOUR_ACTIVE = 200, 5000
REGISTRATIONS, REGISTRATION_SECONDS = 10, 72 * HOUR
TIERS = {
    "TIER_50": 50,
    "TIER_250": 250,
    "TIER_1K": 1000,
    "TIER_2K": 2000,
    "TIER_10K": 10_000,
    "TIER_100K": 100_000,
}
# Pairs that have long been quiet are forgotten when there are more than this.
MOST_PAIRS = 200_000
NANO = 1_000_000_000


class RateLimits:
    """What was used of each limit; times are virtual Unix seconds."""

    def __init__(self) -> None:
        self._numbers: dict[str, Bucket] = {}
        self._pairs: dict[tuple[str, str], Bucket] = {}
        self._calls: dict[tuple[str, str], SlidingWindow] = {}
        self._registrations: dict[tuple[str, str], SlidingWindow] = {}
        self._reached: dict[str, Reached] = {}

    def take_message(self, number: PhoneNumber, who: str, now: float) -> None:
        """Count a message to ``who``.

        Raises:
            GraphError: 130429 too many of this number, 131056 too many to this person.
        """
        rate = number.messages_per_second or (
            COEXISTENCE if number.is_on_biz_app else PER_SECOND.get(number.throughput, 80.0)
        )
        bucket = self._numbers.get(number.id)
        if bucket is None or bucket.rate != rate:
            bucket = self._numbers[number.id] = Bucket(rate, max(1, int(rate)))
        if not bucket.take(now):
            raise GraphError(
                130429,
                "Message failed to send because there were too many messages "
                "sent from this phone number in a short period of time",
            )
        if not self._pair(number.id, who, now).take(now):
            raise GraphError(
                131056,
                "Message failed to send because there were too many messages "
                "sent from this phone number to the same phone number in a short "
                "period of time.",
            )

    def take_recipient(self, account: BusinessAccount, who: str, now: float) -> None:
        """Count a person reached outside a service window, for the portfolio's limit.

        Raises:
            GraphError: 131048; Meta documents no code for this one.
        """
        limit = TIERS.get(account.messaging_limit)
        reached = self._reached.get(account.business_id)
        if reached is None or reached.limit != limit:
            reached = self._reached[account.business_id] = Reached(limit)
        if not reached.take(who, now):
            raise GraphError(131048, "The messaging limit of the business portfolio is reached.")

    def window(self, app_id: str, account: BusinessAccount) -> SlidingWindow:
        """Return what an app used of an account's management calls."""
        limit = PER_HOUR_ACTIVE if account.numbers else PER_HOUR
        window = self._calls.setdefault((app_id, account.id), SlidingWindow(limit, HOUR))
        window.limit = limit
        return window

    def take_registration(self, verb: str, number: PhoneNumber, now: float) -> None:
        """Count an attempt to register or deregister a number.

        Raises:
            GraphError: 133016.
        """
        window = self._registrations.setdefault(
            (verb, number.id), SlidingWindow(REGISTRATIONS, REGISTRATION_SECONDS)
        )
        if not window.take(now):
            raise GraphError(133016, f"Too many attempts to {verb} this phone number.")

    def _pair(self, phone_number_id: str, who: str, now: float) -> Bucket:
        key = (phone_number_id, who)
        bucket = self._pairs.get(key)
        if bucket is None:
            if len(self._pairs) >= MOST_PAIRS:
                self._pairs = {k: b for k, b in self._pairs.items() if not b.is_full(now)}
            bucket = self._pairs[key] = Bucket(PAIR_RATE, PAIR_BURST)
        return bucket


@dataclass(slots=True)
class Bucket:
    """``rate`` per second on average, at most ``burst`` at once (GCRA)."""

    rate: float
    burst: int
    # In whole nanoseconds: a thousand additions to a float of this size would drift.
    _full_at: int = 0

    def take(self, now: float) -> bool:
        """Whether one more may happen at ``now``; if so it is counted."""
        moment, step = int(now * NANO), int(NANO / self.rate)
        full_at = max(self._full_at, moment) + step
        if full_at - moment > self.burst * step:
            return False
        self._full_at = full_at
        return True

    def is_full(self, now: float) -> bool:
        """Whether nothing of it is used."""
        return self._full_at <= int(now * NANO)

    def wait(self, now: float) -> float:
        """Return the seconds until the next one may happen."""
        moment, step = int(now * NANO), int(NANO / self.rate)
        return max(0, max(self._full_at, moment) + step - self.burst * step - moment) / NANO


@dataclass(slots=True)
class SlidingWindow:
    """At most ``limit`` within any ``seconds``."""

    limit: int
    seconds: float
    _times: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> bool:
        """Whether one more may happen at ``now``; if so it is counted."""
        self._forget(now)
        if len(self._times) >= self.limit:
            return False
        self._times.append(now)
        return True

    def used(self, now: float) -> float:
        """Return the percentage that is used up."""
        self._forget(now)
        return 100 * len(self._times) / self.limit

    def wait(self, now: float) -> float:
        """Return the seconds until the next one may happen."""
        self._forget(now)
        is_full = len(self._times) >= self.limit
        return self._times[0] + self.seconds - now if is_full else 0.0

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()


@dataclass(slots=True)
class Reached:
    """The different people written to within any ``seconds``: at most ``limit`` of them."""

    limit: int | None
    seconds: float = 24 * 3600
    _since: dict[str, float] = field(default_factory=dict)

    def take(self, who: str, now: float) -> bool:
        """Whether ``who`` may be written to at ``now``; if so that is counted."""
        if self.limit is None:
            return True
        # In order of time: people whose time is over are removed before they come back at the end.
        while self._since and next(iter(self._since.values())) <= now - self.seconds:
            del self._since[next(iter(self._since))]
        if who in self._since:
            return True
        if len(self._since) >= self.limit:
            return False
        self._since[who] = now
        return True
