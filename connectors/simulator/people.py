"""The people of the simulator: fictional names, numbers reserved for fiction, made-up ids."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from random import Random

FIRST = ("Thandi", "Jonas", "Zoë", "Amir", "Lucía", "Pieter", "Naledi", "Kenji", "Ana", "Olu")
LAST = ("Dlamini", "Weber", "Okafor", "Haddad", "Núñez", "Botha", "Mokoena", "Sato", "Sousa", "Ade")
# Numbers assigned to nobody: NANP 555-0100 to 555-0199, and Ofcom's drama range 07700 900xxx.
AREAS = ("202", "303", "404", "505", "606", "702", "808", "907")


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """A WhatsApp user; ``phone`` (digits) is ``None`` for one who is known by username only."""

    name: str
    user_id: str
    phone: str | None
    username: str | None

    def contact(self) -> dict[str, object]:
        """Return the ``contacts[]`` entry that Meta sends beside this person's messages."""
        profile: dict[str, object] = {"name": self.name}
        if self.username:
            profile["username"] = self.username
        entry: dict[str, object] = {"profile": profile, "user_id": self.user_id}
        return {**entry, "wa_id": self.phone} if self.phone else entry

    def named(self, phone_key: str, user_key: str) -> dict[str, object]:
        """Return the identities under the given keys, such as ``from`` and ``from_user_id``."""
        keys: dict[str, object] = {phone_key: self.phone} if self.phone else {}
        return {**keys, user_key: self.user_id}


def population(
    rng: Random, *, size: int, without_phone: float = 0.1
) -> tuple[SimulatedPerson, ...]:
    """Return ``size`` people; a share of ``without_phone`` is known by BSUID and username only."""
    phones: set[str] = set()
    return tuple(_person(rng, phones, hidden=rng.random() < without_phone) for _ in range(size))


def _person(rng: Random, taken: set[str], *, hidden: bool) -> SimulatedPerson:
    first, last = rng.choice(FIRST), rng.choice(LAST)
    digits = None
    while not hidden and (digits is None or digits in taken):
        digits = phone(rng)
    if digits:
        taken.add(digits)
    token = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=22))
    return SimulatedPerson(
        name=f"{first} {last}",
        user_id=f"{rng.choice(('GB', 'US'))}.{token}",
        phone=digits,
        username=f"{first.lower()}.{rng.randrange(10_000)}" if hidden else None,
    )


def phone(rng: Random) -> str:
    """Return the digits of a number reserved for fiction."""
    if rng.random() < 0.5:
        return f"447700900{rng.randrange(1000):03d}"
    return f"1{rng.choice(AREAS)}55501{rng.randrange(100):02d}"


def wamid(rng: Random, digits: str) -> str:
    """Return a message id built as Meta's are: base64 that holds the user's digits in plaintext."""
    token = rng.randbytes(16).hex().upper().encode()
    inner = (
        b"\x1c\x18" + bytes([len(digits)]) + digits.encode() + b"\x15\x02\x00\x12\x18\x20" + token
    )
    return "wamid." + base64.b64encode(inner + b"\x00").decode()


def sent_wamid(rng: Random, digits: str) -> str:
    """Return the id of a message that a business sent; built a little differently."""
    token = rng.randbytes(9).hex().upper().encode()
    inner = (
        b"\x1c\x18" + bytes([len(digits)]) + digits.encode() + b"\x15\x02\x00\x11\x18\x12" + token
    )
    return "wamid." + base64.b64encode(inner + b"\x00").decode()
