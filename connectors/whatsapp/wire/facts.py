"""Small JSON objects out of wire structs: what is there, and errors as Meta words them."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.whatsapp.wire.message_payloads import Error
from lib.masking import mask, word
from messaging.events import Private

Json = dict[str, object]
_CODES_END = 10_000_000


def compact(**facts: object) -> Json:
    """Return the facts that are there."""
    return {name: fact for name, fact in facts.items() if fact is not None}


def error_facts(errors: Iterable[Error | None] | None) -> tuple[Json, ...]:
    """Return the errors of a message or status; Meta advises to decide by ``code``."""
    return tuple(
        compact(
            code=error_code(error.code),
            title=error.title,
            message=error.message,
            details=(error.error_data and error.error_data.details) or error.details,
        )
        for error in errors or ()
        if error is not None
    )


def about_nobody_known(errors: Iterable[Json]) -> tuple[Json, ...]:
    """Return errors whose sentences are private if they hold any run of digits that may be the
    number of whom they are about.
    """
    return tuple(
        {
            name: Private(fact) if isinstance(fact, str) and mask(fact) != fact else fact
            for name, fact in error.items()
        }
        for error in errors
    )


def error_code(code: object) -> int | str | None:
    """Return Meta's error code, a number of at most 7 digits; anything else is masked."""
    if isinstance(code, int) and 0 <= code < _CODES_END:
        return code
    if isinstance(code, str) and code.isdecimal() and len(code) <= 7:
        return int(code)
    return word(code) or None


def masked(text: str | None) -> str | None:
    """Return ``text`` without phone numbers and message ids."""
    return mask(text) if text is not None else None
