"""How a send of a simulated device ends: the words of a script, as the port's errors. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from connectors.simulator.device_script import InvalidScript
from workspaces.channel_errors import (
    ChannelError,
    OutcomeUnknown,
    Reach,
    Rejected,
    Throttled,
    Unavailable,
)

NOT_ON_WHATSAPP, RATE_OVERLIMIT = 131026, 429
# Crockford's letters, as WhatsApp's pairing codes have them.
LETTERS = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a message leaves, how many seconds the answer takes, and what is raised then."""

    leaves: bool = True
    seconds: float = 0.0
    error: ChannelError | None = None


def outcome_of(word: str, detail: str = "") -> Outcome:
    """Return how a send ends: ``ok``, ``slow:5``, ``not_on_whatsapp``, ``throttled:60``,
    ``unknown`` (it left), ``lost`` (it did not, and nobody can tell), ``unavailable``, ``crash``
    (after it left), ``crash_before``.

    Raises:
        InvalidScript: no such word.
    """
    if word in ("ok", "slow", "crash", "crash_before"):
        return Outcome(leaves=word != "crash_before", seconds=float(detail or 0))
    if word not in ERRORS:
        raise InvalidScript(f"A send cannot end as {word!r}.")
    return Outcome(leaves=word == "unknown", error=ERRORS[word](detail))


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
