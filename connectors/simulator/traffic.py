"""Realistic callbacks from a seed: which updates share a POST, which come twice, which go astray.

Pure: bytes out, nothing sent. The same seed and ``now`` give the same bytes.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from connectors.simulator.shapes import MESSAGE_KINDS, Json
from connectors.simulator.updates import KINDS, Business, SimulatedUpdate, Town

STATUS_KINDS = ("status", "group_receipt")
GROUPS = {"all": KINDS, "messages": MESSAGE_KINDS, "statuses": STATUS_KINDS}
# Most of what businesses receive is receipts and texts.
WEIGHTS = {"text": 30, "image": 6, "voice": 4, "status": 45}
STRANGER = "109999999999999"


class UnknownKind(Exception):
    """There is no such kind of update."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What the traffic is made of: kinds, updates per POST, and shares in percent.

    ``duplicates`` counts POSTs that hold something sent before: the same bytes again, or earlier
    updates cut into another batch together with new ones. ``foreign`` counts updates for a phone
    number that the tenant does not own.
    """

    kinds: tuple[str, ...] = KINDS
    batch: int = 1
    duplicates: float = 0.0
    foreign: float = 0.0


@dataclass(frozen=True, slots=True)
class SimulatedCallback:
    """The body of one POST and what it holds; ``is_repeat`` marks one with updates sent before."""

    body: bytes = field(repr=False)
    updates: tuple[SimulatedUpdate, ...]
    is_repeat: bool = False

    def __len__(self) -> int:
        """Return the number of updates inside."""
        return len(self.updates)


def kinds_of(text: str) -> tuple[str, ...]:
    """Return the kinds that ``all``, ``messages``, ``statuses`` or a list with commas stands for.

    Raises:
        UnknownKind: a word that is neither a group nor a kind.
    """
    kinds: list[str] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word not in GROUPS and word not in KINDS:
            known = ", ".join((*GROUPS, *KINDS))
            raise UnknownKind(f"There is no type {word!r}. Choose from: {known}.")
        kinds += GROUPS.get(word, (word,))
    if not kinds:
        raise UnknownKind("Name at least one type, for example: all.")
    return tuple(dict.fromkeys(kinds))


class Traffic:
    """Callbacks for one business."""

    def __init__(self, business: Business, mix: Mix, *, seed: int, now: int) -> None:
        # Repeatable traffic is the point; nothing here is a secret.
        self._rng = Random(seed)  # noqa: S311
        self._business, self._mix, self._now = business, mix, now
        self._town = Town(self._rng, business, now=now)
        self._weights = [WEIGHTS.get(kind, 1) for kind in mix.kinds]
        self._recent: deque[SimulatedCallback] = deque(maxlen=100)

    def callbacks(self, count: int) -> Iterator[SimulatedCallback]:
        """Yield ``count`` callbacks; may be called again for more."""
        for _ in range(count):
            callback = self._next()
            self._recent.append(callback)
            yield callback

    def _next(self) -> SimulatedCallback:
        rng = self._rng
        if not self._recent or rng.random() * 100 >= self._mix.duplicates:
            return self._posted(self._fresh(self._mix.batch))
        earlier = rng.choice(self._recent)
        if rng.random() < 0.5:
            return SimulatedCallback(earlier.body, earlier.updates, is_repeat=True)
        again = rng.sample(earlier.updates, rng.randint(1, len(earlier)))
        updates = [*again, *self._fresh(max(1, self._mix.batch - len(again)))]
        rng.shuffle(updates)
        return self._posted(updates, is_repeat=True)

    def _fresh(self, count: int) -> list[SimulatedUpdate]:
        kinds = self._rng.choices(self._mix.kinds, self._weights, k=count)
        return [self._perhaps_astray(self._town.update(kind)) for kind in kinds]

    def _perhaps_astray(self, update: SimulatedUpdate) -> SimulatedUpdate:
        if update.number and self._rng.random() * 100 < self._mix.foreign:
            return update.misdirected(STRANGER)
        return update

    def _posted(
        self, updates: Sequence[SimulatedUpdate], *, is_repeat: bool = False
    ) -> SimulatedCallback:
        changes = [self._change(group) for group in _grouped(updates)]
        if len(changes) > 1 and self._rng.random() < 0.3:
            entries = [self._entry([change]) for change in changes]
        else:
            entries = [self._entry(changes)]
        envelope: Json = {"object": "whatsapp_business_account", "entry": entries}
        return SimulatedCallback(_encode(envelope), tuple(updates), is_repeat)

    def _entry(self, changes: list[Json]) -> Json:
        entry: Json = {"id": self._business.waba_id, "changes": changes}
        if all("metadata" not in _value(change) for change in changes):
            entry["time"] = self._now
        return entry

    def _change(self, group: Sequence[SimulatedUpdate]) -> Json:
        first = group[0]
        if not first.section:
            return {"field": first.field, "value": first.item}
        metadata = {
            "display_phone_number": self._business.display_phone_number,
            "phone_number_id": first.number,
        }
        value: Json = {"messaging_product": "whatsapp", "metadata": metadata}
        contacts = {str(u.contact["user_id"]): u.contact for u in group if u.contact}
        if contacts:
            value["contacts"] = list(contacts.values())
        value[first.section] = [update.item for update in group]
        return {"field": first.field, "value": value}


def _value(change: Json) -> Json:
    value = change["value"]
    return value if isinstance(value, dict) else {}


def _grouped(updates: Sequence[SimulatedUpdate]) -> list[list[SimulatedUpdate]]:
    """Put updates that can share a change together; those without a list stand alone."""
    groups: dict[object, list[SimulatedUpdate]] = {}
    for position, update in enumerate(updates):
        shared = (update.field, update.section, update.number)
        groups.setdefault(shared if update.section else position, []).append(update)
    return list(groups.values())


def _encode(envelope: Json) -> bytes:
    # As Meta writes it: no spaces, characters beyond ASCII and slashes escaped; the signature is
    # made over exactly these bytes.
    return json.dumps(envelope, separators=(",", ":")).replace("/", "\\/").encode()
