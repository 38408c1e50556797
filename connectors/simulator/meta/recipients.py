"""Whom a message is for: numbers as Meta reads them, user ids (BSUIDs), groups.

https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.people import FIRST, LAST, SimulatedPerson

USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
NUMBER = re.compile(r"\+?[0-9 ()\-.]{5,32}")
NOT_DIGITS = str.maketrans("", "", "+ ()-.")
LEAST, MOST = 7, 15


class GraphRecipient(NamedTuple):
    """``input`` as it was given; ``digits`` as WhatsApp spells it, empty for a user id or a group.

    ``is_lost``: it reaches no one, and no status is sent.
    """

    input: str
    digits: str = ""
    user_id: str = ""
    group_id: str = ""
    is_lost: bool = False

    @property
    def key(self) -> str:
        """What tells one from another."""
        return self.digits or self.user_id or self.group_id

    def contact(self) -> dict[str, object]:
        """Return the answer's entry in ``contacts``."""
        if self.digits:
            return {"input": self.input, "wa_id": self.digits}
        return {"input": self.input, "user_id": self.user_id}


def recipient_of(body: dict[str, object]) -> GraphRecipient:
    """Return whom a request names; ``to`` wins over ``recipient``.

    Raises:
        GraphError: nobody (131008), or something that is no number and no user id (131009).
    """
    to, user_id = body.get("to"), body.get("recipient")
    if to is None and user_id is None:
        raise GraphError(131008, "The parameter to is required.")
    if to is None:
        if not isinstance(user_id, str) or USER_ID.fullmatch(user_id) is None:
            raise GraphError(131009, "Param recipient must be a business-scoped user ID.")
        return GraphRecipient(user_id, user_id=user_id)
    if not isinstance(to, str) or not to:
        raise GraphError(131009, "Param to must be a phone number.")
    if body.get("recipient_type") == "group":
        return GraphRecipient(to, group_id=to)
    if USER_ID.fullmatch(to):
        # Meta answers 200 and sends nothing; many found out from their customers.
        return GraphRecipient(to, user_id=to, is_lost=True)
    return GraphRecipient(to, digits=_wa_id(_digits(to)))


def person(recipient: GraphRecipient) -> SimulatedPerson:
    """Return who a recipient is: always the same fictional person."""
    return _person(recipient.digits, recipient.user_id)


def _digits(to: str) -> str:
    digits = to.translate(NOT_DIGITS)
    if NUMBER.fullmatch(to) is None or not LEAST <= len(digits) <= MOST:
        raise GraphError(131009, "Param to must be a phone number in international format.")
    return digits


def _wa_id(digits: str) -> str:
    """Return a number as WhatsApp spells it; three countries changed theirs after the fact."""
    if len(digits) == 13 and digits.startswith("55") and digits[4] == "9" and digits[2:4] > "30":
        return digits[:4] + digits[5:]
    if len(digits) == 12 and digits.startswith("52"):
        return "521" + digits[2:]
    if len(digits) == 12 and digits.startswith("54"):
        return "549" + digits[2:]
    return digits


@lru_cache(maxsize=100_000)
def _person(digits: str, user_id: str) -> SimulatedPerson:
    seed = hashlib.blake2b((digits or user_id).encode(), digest_size=8).digest()
    number = int.from_bytes(seed, "big")
    name = f"{FIRST[number % len(FIRST)]} {LAST[number // 16 % len(LAST)]}"
    country = "GB" if digits.startswith("44") else "US"
    return SimulatedPerson(name, user_id or f"{country}.{number}", digits or None, None)
