"""The words with which a person ends or resumes marketing, and how they are recognised.

A word counts only if it is all that was said, however it was written: ``Stop!``, ``STOP 🛑`` and
``*stop*`` are the word ``stop``, ``stop by at six`` is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

# "Stop promotions" is the button that Meta offers for marketing templates. Words that answer a
# question as well ("cancel", "end", "no") are left to the tenants.
_STOP = (
    "stop, stop all, stop promotions, stop marketing, unsubscribe, opt out, optout",
    "stopp, abmelden, abbestellen",  # German
    "afmelden, uitschrijven",  # Dutch
    "arret, desabonner, me desabonner, desinscrire",  # French
    "baja, darme de baja, parar, sair, descadastrar",  # Spanish, Portuguese
    "disiscrivimi, cancellami",  # Italian
    "berhenti, wypisz, стоп, отписаться",  # Indonesian and Malay, Polish, Russian
    "توقف, إلغاء الاشتراك, הסר, रोकें, 退订",  # Arabic, Hebrew, Hindi, Chinese
)
STOP_WORDS = tuple(word for line in _STOP for word in line.split(", "))
START_WORDS = ("start", "unstop", "subscribe", "resubscribe", "opt in", "optin", "alta", "старт")
LONGEST_WORD = 40
# With what may stand around a word. Longer texts are not even looked at.
LONGEST_TEXT = LONGEST_WORD + 10

_PARTS = re.compile(r"[^\W_]+")


class Words(NamedTuple):
    """The words that hold for a tenant, in their normal form."""

    stop: frozenset[str]
    start: frozenset[str]

    def consent(self, said: Iterable[str]) -> bool | None:
        """Return what one of the normal forms says about marketing: yes, no, or nothing (None)."""
        forms = set(said)
        if forms & self.stop:
            return False
        return True if forms & self.start else None


def normal_form(text: str) -> str:
    """Return a text without case, accents, width, and punctuation or emoji around and between.

    Empty where nothing is left, or the text is too long to be a word.
    """
    if len(text) > LONGEST_TEXT:
        return ""
    folded = text.casefold()
    if not folded.isascii():
        apart = unicodedata.normalize("NFKD", folded)
        folded = "".join(c for c in apart if not unicodedata.combining(c)).casefold()
    return " ".join(_PARTS.findall(folded))


def words(stop: Iterable[str], start: Iterable[str]) -> Words:
    """Return two lists of words, ready to be compared."""
    return Words(frozenset(map(normal_form, stop)), frozenset(map(normal_form, start)))


DEFAULT = words(STOP_WORDS, START_WORDS)
