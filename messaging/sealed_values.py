"""Values that give a phone number away: sealed beside the message, opened for readers.

A value is one string or number of a message, wherever it stands, or a key of an object. One that
holds a number of the two parties, an international number or a message id is moved, whole, into
``messages.sealed_values``: a JSON list, sealed under the key of the day. A placeholder with its
position is left in its place; so is a number with an exponent that PostgreSQL's JSON would write
out. Every other value is stored as it came. Names of contacts are kept so too, each sealed in its
own column.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from lib.envelope import CannotOpen, Cipher, associated_data, key_id_of
from lib.masking import has_digit, holds_number, number_endings
from messaging.events import Private, SharedCard
from workspaces import keys

SEALED_VALUES = "messages.sealed_values"
NAMES = "contacts.names"
# What readers get instead of a value: its day was purged; it is for callers with such a scope.
PURGED = "[purged]"
NEEDS_RAW_READ = "[needs raw:read]"
NEEDS_MESSAGES_READ = "[needs messages:read]"

# What stands in the row. Whatever looks like it is sealed too, so that none is taken for another.
_PLACEHOLDER = re.compile(r"\[(sealed|number):(\d{1,9})\]")
_VALUE, _NUMBER = "sealed", "number"
# A name in its column: the day whose key seals it, and its sealed form in base64.
_NAME_BEGINS = "[sealed:"
_NAME = re.compile(
    r"\[sealed:(\d{4}-\d\d-\d\d):"
    r"((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)\]"
)
_MOST_DIGITS = 40
# Keys of a shared card that name a person, whatever stands there.
_IDENTITIES = frozenset({"phone", "wa_id", "user_id", "parent_user_id"})

# Values of a row in the order of their placeholders; ``None``: their key was destroyed.
Values = Sequence[object] | None
# The id of a message or of a receipt, or a name as it is stored.
Row = TypeVar("Row", UUID, int, str)

_encoder = msgspec.json.Encoder(decimal_format="number")
_content_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
_decoder: msgspec.json.Decoder[list[object]] = msgspec.json.Decoder(list, float_hook=Decimal)


class Separator:
    """Takes the values out of one message that must not be stored as they are.

    ``numbers`` are the digits of the parties' phone numbers.
    """

    __slots__ = ("_endings", "_kind", "taken")

    def __init__(self, numbers: Iterable[str | None]) -> None:
        self._endings = number_endings(numbers)
        self._kind = _VALUE
        self.taken: list[object] = []

    def separate(self, value: Any) -> Any:
        """Return a JSON value with a placeholder for every value, and every key, that was taken."""
        if isinstance(value, str):
            return self._take(value) if self._must_be_sealed(value) else value
        if isinstance(value, dict):
            return {self.separate(key): self.separate(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.separate(item) for item in value]
        if isinstance(value, SharedCard):
            return self._separate_card(value)
        if isinstance(value, Private):
            return self._take(value.value)
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            must = _is_long(value) or holds_number(str(value), self._endings)
            return self._take(value) if must else value
        return value

    def seal(self, cipher: Cipher, *, tenant_id: UUID, place: str, row: object) -> bytes | None:
        """Return what was taken, sealed for one row; ``None`` if nothing was."""
        if not self.taken:
            return None
        return cipher.seal(_encoder.encode(self.taken), associated_data(tenant_id, place, row))

    def _must_be_sealed(self, text: str) -> bool:
        return holds_number(text, self._endings) or _PLACEHOLDER.fullmatch(text) is not None

    def _take(self, value: object) -> str:
        self.taken.append(value)
        return f"[{self._kind}:{len(self.taken) - 1}]"

    def _separate_card(self, shared: SharedCard) -> Any:
        """What gives a third person's number away is for callers with raw:read."""
        kind, endings = self._kind, self._endings
        self._kind, self._endings = _NUMBER, endings | number_endings(shared.numbers)
        card = self._separate_identities(shared.card)
        self._kind, self._endings = kind, endings
        return card

    def _separate_identities(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._separate_identities(item) for item in value]
        if not isinstance(value, dict):
            return self.separate(value)
        return {
            self.separate(key): self._take(item)
            if key in _IDENTITIES and isinstance(item, str | int)
            else self._separate_identities(item)
            for key, item in value.items()
        }


def _is_long(number: float | Decimal) -> bool:
    """Tell whether PostgreSQL would write hundreds of digits out for a few."""
    return isinstance(number, Decimal) and abs(number.adjusted()) > _MOST_DIGITS


def encode(content: object) -> str:
    """Return JSON text of a content, decimals in the form they came in."""
    return _encoder.encode(content).decode()


def decode(content: str) -> Any:
    """Return the JSON value of a stored content, decimals in the form they came in."""
    return _content_decoder.decode(content)


def open_values(
    sealed: Mapping[Row, bytes],
    *,
    tenant_id: UUID,
    place: str = SEALED_VALUES,
    binding: Callable[[Row], object] = lambda row: row,
) -> dict[Row, Values]:
    """Open the values of many rows, their keys loaded with one query.

    ``binding`` returns what `Separator.seal` was given as the row; the key itself by default.
    """
    alive = keys.preload(sealed.values())
    return {
        row: _open(value, alive, tenant_id, place, binding(row)) for row, value in sealed.items()
    }


def _open(
    sealed: bytes, alive: Collection[int], tenant_id: UUID, place: str, row: object
) -> Values:
    try:
        if key_id_of(sealed) not in alive:
            return None
        opened = keys.cipher_of(sealed).open(sealed, associated_data(tenant_id, place, row))
    except CannotOpen:
        return None
    return _decoder.decode(opened)


def is_placeholder(value: object) -> bool:
    """Tell whether a stored value stands for one that is sealed."""
    return isinstance(value, str) and _PLACEHOLDER.fullmatch(value) is not None


def fill(value: Any, values: Values, *, with_numbers: bool = False) -> Any:
    """Return a stored value with what was taken out of it.

    ``with_numbers``: also what gives away the numbers of people who are shared as cards. Instead of
    what cannot be opened, and what may not, stand `PURGED` and `NEEDS_RAW_READ`.
    """
    if isinstance(value, str):
        return _filled(value, values, with_numbers)
    if isinstance(value, dict):
        return {
            _filled_key(key, values, with_numbers): fill(item, values, with_numbers=with_numbers)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [fill(item, values, with_numbers=with_numbers) for item in value]
    return value


def _filled(text: str, values: Values, with_numbers: bool) -> Any:
    found = _PLACEHOLDER.fullmatch(text) if text.startswith("[") else None
    if found is None:
        return text
    if values is None:
        return PURGED
    if found[1] == _NUMBER and not with_numbers:
        return NEEDS_RAW_READ
    return values[int(found[2])]


def _filled_key(key: str, values: Values, with_numbers: bool) -> str:
    """Several keys of one object may be purged: their positions tell them apart."""
    filled = str(_filled(key, values, with_numbers))
    if filled in (PURGED, NEEDS_RAW_READ) and filled != key:
        return f"{filled[:-1]}:{key.rpartition(':')[2]}"
    return filled


def keep_name(told: str | Private, before: str, *, tenant_id: UUID, day: date) -> str:
    """Return the text that stands in a contact's column for a name that was told on ``day``.

    What is `Private` is sealed under the key of that day. It is bound to the tenant and not to the
    row: a name follows its person when contacts are merged. ``before`` is the text that stood
    there; it stays if it is the same name, told on that day or later.
    """
    if isinstance(told, str) and not told.startswith(_NAME_BEGINS):
        return told
    name = told.value if isinstance(told, Private) else told
    found = _NAME.fullmatch(before)
    if found and found[1] >= str(day) and open_names([before], tenant_id=tenant_id)[before] == name:
        return before
    separator = Separator(())
    separator.separate(Private(name))
    cipher = keys.day_cipher(tenant_id, day)
    sealed = separator.seal(cipher, tenant_id=tenant_id, place=NAMES, row=day) or b""
    return f"{_NAME_BEGINS}{day}:{b64encode(sealed).decode()}]"


def hide_name(stored: str, numbers: Iterable[str | None], *, tenant_id: UUID, day: date) -> str:
    """Return the text that stands for a stored name when ``numbers`` (digits) are its person's: it
    may have been told before they were. One that holds them is sealed under the key of ``day``.
    """
    if not has_digit(stored) or _NAME.fullmatch(stored):
        return stored
    if not holds_number(stored, number_endings(numbers)):
        return stored
    return keep_name(Private(stored), "", tenant_id=tenant_id, day=day)


def open_names(names: Iterable[str], *, tenant_id: UUID) -> dict[str, str]:
    """Return what those among stored names say that are sealed, by the text that is stored.

    Their keys are loaded with one query; `PURGED` are those whose key was destroyed.
    """
    found = {name: match for name in names if (match := _NAME.fullmatch(name))}
    sealed = {name: b64decode(match[2]) for name, match in found.items()}
    opened = open_values(
        sealed, tenant_id=tenant_id, place=NAMES, binding=lambda name: found[name][1]
    )
    return {name: str(values[0]) if values else PURGED for name, values in opened.items()}


def shortened(name: str) -> str:
    """Return a stored name as people see it who do not open it."""
    return "[sealed]" if _NAME.fullmatch(name) else name
