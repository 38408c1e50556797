"""The script of a simulated linked device: what it goes through, and how each send ends.

A JSON file beside the store, ``whatsapp.db.script``, read again at every step, so that whoever
plays WhatsApp may change it while the device runs. docs/sender.md describes it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspaces.channel_errors import (
    ChannelError,
    OutcomeUnknown,
    Reach,
    Rejected,
    Throttled,
    Unavailable,
)

# As WhatsApp shows them: the first is good for a minute, five more for twenty seconds each.
QR_SECONDS = (60.0, 20.0, 20.0, 20.0, 20.0, 20.0)
CONNECTS = (
    "ok",
    "replaced",
    "logged_out",
    "banned",
    "rate_limited",
    "outdated",
    "unreachable",
)
# A number that Ofcom keeps for fiction.
NUMBER = "447700900123"
NOT_ON_WHATSAPP, RATE_OVERLIMIT = 131026, 429
# Crockford's letters, as WhatsApp's pairing codes have them.
LETTERS = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"


class InvalidScript(Exception):
    """The script is not a JSON object, or asks for something that cannot happen."""


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """Something that happens to the device ``after`` so many seconds since it was connected
    (``of_start``: since it was started). ``key`` is the same for as long as its entry is.
    """

    key: str
    after: float
    event: str
    of_start: bool
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Script:
    """What happens; the defaults are what a demo wants: it is scanned, and every send arrives.

    ``paired_after`` counts from the first QR code; ``None``: nobody ever scans it. ``receipts`` are
    the seconds after a send, by status. ``auto_reply`` is the text that people answer, if any.
    """

    paired_after: float | None = 5.0
    qr_seconds: Sequence[float] = QR_SECONDS
    connect: str = "ok"
    connect_after: float = 0.05
    pair_code: str = "ok"
    account: Mapping[str, str] = field(default_factory=dict, repr=False)
    sends: Sequence[str] = ()
    receipts: Mapping[str, float] = field(default_factory=lambda: {"delivered": 0.5, "read": 1.5})
    auto_reply: str | None = field(default=None, repr=False)
    auto_reply_after: float = 1.0
    keep_alive: float | None = None
    ban_seconds: float = 3600.0
    retry_after: float | None = None
    events: Sequence[Mapping[str, Any]] = ()

    def steps(self) -> list[ScriptStep]:
        """Return what happens by itself; two entries that are alike happen both."""
        seen: dict[str, int] = {}
        return [_step(entry, seen) for entry in self.events]


def path_of(store: Path) -> Path:
    """Return where the script of a store is looked for."""
    return store.with_name(store.name + ".script")


def read(store: Path) -> Script:
    """Return the script of a store, or what happens without one.

    Raises:
        InvalidScript: it cannot be understood.
    """
    try:
        text = path_of(store).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Script()
    try:
        script = Script(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise InvalidScript(f"{path_of(store).name}: {error}") from None
    if script.connect not in CONNECTS:
        raise InvalidScript(f"connect is one of {', '.join(CONNECTS)}.")
    return script


def write(store: Path, **what: object) -> None:
    """Replace the script of a store, in one step, by ``what`` differs from the defaults."""
    new = path_of(store).with_suffix(".new")
    new.write_text(json.dumps(what), encoding="utf-8")
    new.replace(path_of(store))


def _step(entry: Mapping[str, Any], seen: dict[str, int]) -> ScriptStep:
    text = json.dumps(entry, sort_keys=True)
    seen[text] = seen.get(text, 0) + 1
    return ScriptStep(
        key=f"{seen[text]}:{text}",
        after=float(entry.get("after", 0)),
        event=str(entry["event"]),
        of_start=entry.get("of") == "start",
        fields=entry,
    )


@dataclass(frozen=True, slots=True)
class SendResult:
    """Whether a message leaves, how many seconds the answer takes, and what is raised then."""

    leaves: bool = True
    seconds: float = 0.0
    error: ChannelError | None = None


def result_of(word: str, detail: str = "") -> SendResult:
    """Return how a send ends: ``ok``, ``slow:5``, ``not_on_whatsapp``, ``throttled:60``,
    ``unknown`` (it left), ``lost`` (it did not, and nobody can tell), ``unavailable``, ``crash``
    (after it left), ``crash_before``.

    Raises:
        InvalidScript: no such word.
    """
    if word in ("ok", "slow", "crash", "crash_before"):
        return SendResult(leaves=word != "crash_before", seconds=float(detail or 0))
    if word not in ERRORS:
        raise InvalidScript(f"A send cannot end as {word!r}.")
    return SendResult(leaves=word == "unknown", error=ERRORS[word](detail))


def answer_to_pairing(word: str) -> str:
    """Return a pairing code, or raise what the script's ``pair_code`` says.

    Raises:
        ChannelError: refused.
    """
    if word == "throttled":
        raise _throttled("")
    if word == "refused":
        raise Rejected(400, "WhatsApp refused to make a pairing code.", reach=Reach.NUMBER)
    letters = "".join(secrets.choice(LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def _throttled(detail: str) -> ChannelError:
    return Throttled(float(detail) if detail else None, code=RATE_OVERLIMIT)


def _not_on_whatsapp(_: str) -> ChannelError:
    return Rejected(NOT_ON_WHATSAPP, "This number is not on WhatsApp.", reach=Reach.RECIPIENT)


def _unknown(_: str) -> ChannelError:
    return OutcomeUnknown("The connection was lost before the answer came.")


def _unavailable(_: str) -> ChannelError:
    return Unavailable("The account is not connected.")


ERRORS: dict[str, Callable[[str], ChannelError]] = {
    "not_on_whatsapp": _not_on_whatsapp,
    "throttled": _throttled,
    "unknown": _unknown,
    "lost": _unknown,
    "unavailable": _unavailable,
}
