"""What messages and the platform say about marketing, taken to heart with the message itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

from lib.ttl import TtlCache
from messaging import optouts, stopwords
from messaging.events import MarketingPreference, MessageEvent, Source
from messaging.models import OptOutSource, SendingPolicy
from messaging.optouts import Wish
from messaging.stopwords import Words, normal_form

# Seconds for which a process goes by the words it knows.
WORDS_SECONDS = 5.0
# Where the answer to a button stands besides the text on it.
ANSWERS = ("payload", "id")

_words: TtlCache[UUID, Words] = TtlCache(seconds=WORDS_SECONDS, size=10_000)


class Heard(NamedTuple):
    """A message that is new to us, or what the platform was told, and by whom."""

    tenant_id: UUID
    contact_id: UUID
    event: MessageEvent | MarketingPreference


def heed(heard: Collection[Heard]) -> set[tuple[UUID, UUID]]:
    """Do what people ask for, in the caller's transaction: with a word, or told to the platform.

    Of messages only live ones count, not what somebody once said in a history that is imported.
    Returns tenant and contact of those for whom something changed.
    """
    said = [(one, forms) for one in heard if (forms := _forms(one.event))]
    told = [_told(one, one.event) for one in heard if isinstance(one.event, MarketingPreference)]
    words = words_of({one.tenant_id for one, _ in said})
    return optouts.heed([*told, *_wishes(said, words)])


def words_of(tenant_ids: Collection[UUID]) -> dict[UUID, Words]:
    """Return the words of tenants, those of their own before the defaults."""
    known = {tenant_id: _words.get(tenant_id) for tenant_id in tenant_ids}
    missing = [tenant_id for tenant_id, words in known.items() if words is None]
    own: Mapping[UUID, SendingPolicy] = SendingPolicy.objects.in_bulk(missing) if missing else {}
    for tenant_id in missing:
        policy = own.get(tenant_id)
        words = stopwords.DEFAULT
        if policy is not None:
            theirs = stopwords.words(policy.stop_words, policy.start_words)
            words = Words(theirs.stop or words.stop, theirs.start or words.start)
        known[tenant_id] = _words.put(tenant_id, words)
    return {tenant_id: words for tenant_id, words in known.items() if words is not None}


def set_words(*, tenant_id: UUID, stop: Collection[str], start: Collection[str]) -> Words:
    """Replace a tenant's words; an empty list brings the defaults back. Returns those in force.

    Other processes go by the old ones for up to ``WORDS_SECONDS``.
    """
    SendingPolicy.objects.update_or_create(
        tenant_id=tenant_id, defaults={"stop_words": list(stop), "start_words": list(start)}
    )
    _words.clear()
    return words_of([tenant_id])[tenant_id]


def _told(one: Heard, event: MarketingPreference) -> Wish:
    source = OptOutSource.PLATFORM
    return Wish(one.tenant_id, one.contact_id, source, event.timestamp, event.is_wanted)


def _forms(event: MessageEvent | MarketingPreference) -> set[str]:
    """Return what a message may be taken for; nothing where it is too long to be a word."""
    if not isinstance(event, MessageEvent) or event.source != Source.LIVE:
        return set()
    said: list[object] = [event.text]
    if event.content:
        said += map(event.content.get, ANSWERS)
    forms = {normal_form(text) for text in said if isinstance(text, str)}
    return forms - {""}


def _wishes(said: Iterable[tuple[Heard, set[str]]], words: Mapping[UUID, Words]) -> Iterator[Wish]:
    for one, forms in said:
        is_wanted = words[one.tenant_id].wish(forms)
        if is_wanted is not None:
            yield Wish(
                one.tenant_id, one.contact_id, OptOutSource.WORD, one.event.timestamp, is_wanted
            )
