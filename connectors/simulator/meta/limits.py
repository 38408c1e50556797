"""The buckets of every number, pair, account and portfolio.

https://developers.facebook.com/documentation/business-messaging/whatsapp/messaging-limits
"""

from __future__ import annotations

from connectors.simulator.meta.buckets import Bucket, Reached, Window
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.world import Account, Number

PER_SECOND = {"STANDARD": 80.0, "HIGH": 1000.0}
COEXISTENCE = 20.0
PAIR_RATE, PAIR_BURST = 1 / 6, 45
HOUR = 3600.0
PER_HOUR, PER_HOUR_ACTIVE = 200, 5000
REGISTRATIONS, REGISTRATION_SECONDS = 10, 72 * HOUR
TIERS = {
    "TIER_50": 50, "TIER_250": 250, "TIER_1K": 1000, "TIER_2K": 2000, "TIER_10K": 10_000,
    "TIER_100K": 100_000,
}  # fmt: skip
# Pairs that have long been quiet are forgotten when there are more than this.
MOST_PAIRS = 200_000


class Limits:
    """What was used of each limit; times are virtual Unix seconds."""

    def __init__(self) -> None:
        self._numbers: dict[str, Bucket] = {}
        self._pairs: dict[tuple[str, str], Bucket] = {}
        self._calls: dict[tuple[str, str], Window] = {}
        self._registrations: dict[tuple[str, str], Window] = {}
        self._reached: dict[str, Reached] = {}

    def take_message(self, number: Number, who: str, now: float) -> None:
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
            raise GraphError(130429, "Message failed to send because there were too many messages "
                             "sent from this phone number in a short period of time")  # fmt: skip
        if not self._pair(number.id, who, now).take(now):
            raise GraphError(131056, "Message failed to send because there were too many messages "
                             "sent from this phone number to the same phone number in a short "
                             "period of time.")  # fmt: skip

    def take_recipient(self, account: Account, who: str, now: float) -> None:
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

    def window(self, app_id: str, account: Account) -> Window:
        """Return what an app used of an account's management calls."""
        limit = PER_HOUR_ACTIVE if account.numbers else PER_HOUR
        window = self._calls.setdefault((app_id, account.id), Window(limit, HOUR))
        window.limit = limit
        return window

    def take_registration(self, verb: str, number: Number, now: float) -> None:
        """Count an attempt to register or deregister a number.

        Raises:
            GraphError: 133016.
        """
        window = self._registrations.setdefault(
            (verb, number.id), Window(REGISTRATIONS, REGISTRATION_SECONDS)
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
