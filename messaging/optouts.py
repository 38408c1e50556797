"""Who opted out of marketing: with a word, on the platform, or because the tenant entered it.

A row is kept when somebody resumes (``lifted_at``), so that what arrives late or is replayed never
undoes what was said after it.

A word counts only if it is all that was said, however it was written: ``Stop!``, ``STOP 🛑`` and
``*stop*`` are the word ``stop``, ``stop by at six`` is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from lib import bulk, clock
from lib.ttl import TtlCache
from messaging.events import MarketingPreference, MessageEvent, Source
from messaging.models import OptOut, OptOutSource, SendingPolicy
from messaging.people import survivors
from messaging.transitions import cancel_marketing

COLUMNS = ("tenant_id uuid", "contact_id uuid", "source text", "said_at timestamptz")
# Everybody who says something has a row, which says that nothing is stopped, and is locked: in the
# order of the key, or concurrent batches deadlock. Who had nothing stopped is remembered, for the
# stop of a contact that turns out to be the same person may be older, or be heard late.
TAKE = """
INSERT INTO opt_outs AS o (tenant_id, contact_id, source, said_at, lifted_at, lifted_by)
SELECT tenant_id, contact_id, source, said_at, said_at, source FROM {rows}
ORDER BY tenant_id, contact_id
ON CONFLICT (tenant_id, contact_id) DO UPDATE SET contact_id = o.contact_id WHERE false
"""
# Time decides, and of one second (Meta gives no more) the wish against marketing; but what a tenant
# enters holds whatever the clocks say, and who stopped it on the platform has to resume it there
# (Meta refuses otherwise: 131050).
STOP = """
UPDATE opt_outs o SET
  source = CASE WHEN o.source = 'PLATFORM' AND o.lifted_at IS NULL THEN o.source
           ELSE r.source END,
  said_at = greatest(r.said_at, o.said_at, o.lifted_at), lifted_at = NULL, lifted_by = ''
FROM {rows}
WHERE o.tenant_id = r.tenant_id AND o.contact_id = r.contact_id
  AND (r.said_at > greatest(o.said_at, o.lifted_at)
   OR r.said_at >= date_trunc('second', o.lifted_at)
   OR (o.lifted_at IS NOT NULL AND (r.source = 'API' OR o.lifted_by = 'MERGED')))
RETURNING o.tenant_id, o.contact_id
"""
RESUME = """
UPDATE opt_outs o SET lifted_at = greatest(r.said_at, o.said_at),
                      lifted_by = r.source
FROM {rows}
WHERE o.tenant_id = r.tenant_id AND o.contact_id = r.contact_id AND o.lifted_at IS NULL
  AND (r.source = 'API' OR o.said_at < r.said_at)
  AND NOT (r.source = 'WORD' AND o.source = 'PLATFORM')
RETURNING o.tenant_id, o.contact_id
"""
REMEMBER = """
UPDATE opt_outs o SET lifted_at = r.said_at, lifted_by = r.source FROM {rows}
WHERE o.tenant_id = r.tenant_id AND o.contact_id = r.contact_id AND r.said_at > o.lifted_at
"""
OF_CONTACTS = """
SELECT o.tenant_id, o.contact_id, o.source, o.said_at, o.lifted_at, o.lifted_by
FROM {rows} JOIN opt_outs o ON o.tenant_id = r.tenant_id AND o.contact_id = r.contact_id
WHERE o.lifted_by <> 'MERGED' ORDER BY o.tenant_id, o.contact_id FOR UPDATE OF o
"""
KEEP_COLUMNS = (*COLUMNS, "lifted_at timestamptz", "lifted_by text")
KEEP = """
INSERT INTO opt_outs AS o (tenant_id, contact_id, source, said_at, lifted_at, lifted_by)
SELECT tenant_id, contact_id, source, said_at, lifted_at, lifted_by FROM {rows}
ORDER BY tenant_id, contact_id
ON CONFLICT (tenant_id, contact_id) DO UPDATE SET source = excluded.source,
  said_at = excluded.said_at, lifted_at = excluded.lifted_at, lifted_by = excluded.lifted_by
"""
# "Stop promotions" is the button that Meta offers for marketing templates. Words that answer a
# question as well ("cancel", "end", "no") are left to the tenants.
_STOP_LINES = (
    "stop, stop all, stop promotions, stop marketing, unsubscribe, opt out, optout",
    "stopp, abmelden, abbestellen",  # German
    "afmelden, uitschrijven",  # Dutch
    "arret, desabonner, me desabonner, desinscrire",  # French
    "baja, darme de baja, parar, sair, descadastrar",  # Spanish, Portuguese
    "disiscrivimi, cancellami",  # Italian
    "berhenti, wypisz, стоп, отписаться",  # Indonesian and Malay, Polish, Russian
    "توقف, إلغاء الاشتراك, הסר, रोकें, 退订",  # Arabic, Hebrew, Hindi, Chinese
)
STOP_WORDS = tuple(word for line in _STOP_LINES for word in line.split(", "))
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


def words_in(stop: Iterable[str], start: Iterable[str]) -> Words:
    """Return two lists of words, ready to be compared."""
    return Words(frozenset(map(normal_form, stop)), frozenset(map(normal_form, start)))


DEFAULT = words_in(STOP_WORDS, START_WORDS)
# Seconds for which a process goes by the words it knows.
WORDS_SECONDS = 5.0
# Where the answer to a button stands besides the text on it.
ANSWERS = ("payload", "id")

_words: TtlCache[UUID, Words] = TtlCache(seconds=WORDS_SECONDS, size=10_000)


class Consent(NamedTuple):
    """What somebody said about marketing, and when."""

    tenant_id: UUID
    contact_id: UUID
    source: OptOutSource
    at: datetime
    is_given: bool


class Statement(NamedTuple):
    """A message that is new to us, or what the platform reported, and by whom."""

    tenant_id: UUID
    contact_id: UUID
    event: MessageEvent | MarketingPreference


def opted_out(*, tenant_id: UUID, contact_ids: Collection[UUID]) -> set[UUID]:
    """Return which of these people want no marketing templates of this tenant."""
    if not contact_ids:
        return set()
    rows = OptOut.objects.filter(
        tenant_id=tenant_id, contact_id__in=list(contact_ids), lifted_at=None
    )
    return set(rows.values_list("contact_id", flat=True))


def opt_out(
    *,
    tenant_id: UUID,
    contact_ids: Iterable[UUID],
    source: OptOutSource,
    at: datetime | None = None,
) -> set[UUID]:
    """Send these people no marketing from ``at`` (now) on; return those for whom that is news."""
    at = at or clock.now()
    consents = [Consent(tenant_id, one, source, at, is_given=False) for one in contact_ids]
    return {contact_id for _, contact_id in record(consents)}


def opt_in(
    *,
    tenant_id: UUID,
    contact_ids: Iterable[UUID],
    source: OptOutSource = OptOutSource.API,
    at: datetime | None = None,
) -> set[UUID]:
    """Let marketing reach these people again; return those who had it stopped."""
    at = at or clock.now()
    consents = [Consent(tenant_id, one, source, at, is_given=True) for one in contact_ids]
    return {contact_id for _, contact_id in record(consents)}


def record(consents: Iterable[Consent]) -> set[tuple[UUID, UUID]]:
    """Record what people said, in the caller's transaction, in the order in which they said it.

    Call it once in a transaction: it locks the people in their order. Queued marketing to somebody
    who opts out is cancelled. Returns tenant and contact (as they were given) of those for whom
    something changed.
    """
    said = list(consents)
    if not said:
        return set()
    now = survivors({(one.tenant_id, one.contact_id) for one in said})
    last: dict[tuple[UUID, UUID, OptOutSource, bool], Consent] = {}
    for one in sorted(said, key=lambda one: one.at):
        one = one._replace(contact_id=now[one.contact_id])
        last[one.tenant_id, one.contact_id, one.source, one.is_given] = one
    words = sorted(last.values(), key=lambda one: one.at)
    # As of the first thing they say: what holds for who is new must not be later than the rest.
    _take([one[:4] for one in words])
    changed: set[tuple[UUID, UUID]] = set()
    stopped: set[tuple[UUID, UUID]] = set()
    for turn in _turns(words):
        stops, starts = _recorded(turn)
        changed |= stops | starts
        stopped = (stopped | stops) - starts
    cancel_marketing(stopped)
    return {one[:2] for one in said if (one.tenant_id, now[one.contact_id]) in changed}


def _turns(words: Iterable[Consent]) -> Iterable[list[Consent]]:
    """Return what to record one after the other: in each turn one word of a person. Whose stop it
    was says who may take it back, so the last word alone is not enough.
    """
    turns: defaultdict[int, list[Consent]] = defaultdict(list)
    spoken: Counter[tuple[UUID, UUID]] = Counter()
    for one in words:
        turns[spoken[one[:2]]].append(one)
        spoken[one[:2]] += 1
    return turns.values()


def _recorded(said: list[Consent]) -> tuple[set[tuple[UUID, UUID]], set[tuple[UUID, UUID]]]:
    """Record one word each; return who stopped and who resumed marketing that they had not."""
    stops = [one[:4] for one in said if not one.is_given]
    starts = [one[:4] for one in said if one.is_given]
    stopped, resumed = _changed(STOP, stops), _changed(RESUME, starts)
    bulk.run(REMEMBER, COLUMNS, [start for start in starts if start[:2] not in resumed])
    return stopped, resumed


def _take(rows: bulk.Rows) -> None:
    firsts = {tuple(row[:2]): row for row in reversed(rows)}
    bulk.run(TAKE, COLUMNS, list(firsts.values()))


def _changed(statement: str, rows: bulk.Rows) -> set[tuple[UUID, UUID]]:
    return {(row[0], row[1]) for row in bulk.run(statement, COLUMNS, rows)}


def record_statements(
    statements: Collection[Statement], stops: Iterable[Consent] = ()
) -> set[tuple[UUID, UUID]]:
    """Record what people said with a word or set on the platform, as :func:`record` does, together
    with ``stops`` that are known from elsewhere.

    Of messages only live ones count, not what somebody once said in a history that is imported.
    """
    heard = [(*one, _forms(one.event)) for one in statements]
    words = words_of({tenant_id for tenant_id, *_, forms in heard if forms})
    said = [*stops]
    is_given: bool | None
    for tenant_id, contact_id, event, forms in heard:
        if isinstance(event, MarketingPreference):
            source, is_given = OptOutSource.PLATFORM, event.is_wanted
        elif forms:
            source, is_given = OptOutSource.WORD, words[tenant_id].consent(forms)
        else:
            continue
        if is_given is not None:
            said.append(Consent(tenant_id, contact_id, source, event.timestamp, is_given))
    return record(said) if said else set()


def _forms(event: MessageEvent | MarketingPreference) -> set[str]:
    """Return the normal forms of what a message says; none where it is too long to be a word."""
    if not isinstance(event, MessageEvent) or event.source != Source.LIVE:
        return set()
    texts: list[object] = [event.text]
    if event.content:
        texts += map(event.content.get, ANSWERS)
    forms = {normal_form(text) for text in texts if isinstance(text, str)}
    return forms - {""}


def words_of(tenant_ids: Collection[UUID]) -> dict[UUID, Words]:
    """Return the words of tenants, those of their own before the defaults."""
    known = {tenant_id: _words.get(tenant_id) for tenant_id in tenant_ids}
    missing = [tenant_id for tenant_id, words in known.items() if words is None]
    own: Mapping[UUID, SendingPolicy] = SendingPolicy.objects.in_bulk(missing) if missing else {}
    for tenant_id in missing:
        policy = own.get(tenant_id)
        words = DEFAULT
        if policy is not None:
            theirs = words_in(policy.stop_words, policy.start_words)
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


class _StoredOptOut(NamedTuple):
    """An opt-out as it is stored."""

    tenant_id: UUID
    contact_id: UUID
    source: str
    said_at: datetime
    lifted_at: datetime | None
    lifted_by: str

    @property
    def order(self) -> tuple[datetime, bool]:
        """When the last word was said; of two at a time the one against marketing counts."""
        return self.lifted_at or self.said_at, self.lifted_at is None

    @property
    def is_on_platform(self) -> bool:
        """Whether only the platform can take it back."""
        return self.lifted_at is None and self.source == OptOutSource.PLATFORM


def join(merged: Collection[tuple[UUID, UUID, UUID]]) -> None:
    """Let the last word count of contacts (tenant, contact, what it is now) that were merged."""
    owner = {(tenant_id, one): winner for tenant_id, one, winner in merged}
    sides = {*owner, *((tenant_id, winner) for tenant_id, _, winner in merged)}
    found = [_StoredOptOut(*row) for row in bulk.run(OF_CONTACTS, COLUMNS[:2], sorted(sides))]
    whose = {row: (row.tenant_id, owner.get(row[:2], row.contact_id)) for row in found}
    kept = []
    for (_, winner), rows in groupby(sorted(found, key=whose.__getitem__), whose.__getitem__):
        kept.append(_last_word(list(rows))._replace(contact_id=winner))
    past = [
        row._replace(lifted_at=row.lifted_at or row.said_at, lifted_by="MERGED")
        for row in found
        if row[:2] in owner
    ]
    bulk.run(KEEP, KEEP_COLUMNS, [*kept, *past])
    cancel_marketing({row[:2] for row in kept if row.lifted_at is None})


def pass_on(numbers: Iterable[tuple[UUID, UUID, UUID]]) -> None:
    """Stop marketing to people who are new to us and have the number of somebody who stopped it.

    Nobody knows whether they are somebody else: who registers anew gets a new BSUID as well. They
    may want it, and say so. ``numbers`` are tenant, who had the number, and who has it.
    """
    now = {(tenant_id, before): after for tenant_id, before, after in numbers}
    found = [_StoredOptOut(*row) for row in bulk.run(OF_CONTACTS, COLUMNS[:2], sorted(now))]
    rows = [
        (row.tenant_id, now[row[:2]], OptOutSource.NUMBER.value, row.said_at)
        for row in found
        if row.lifted_at is None
    ]
    _take(rows)
    bulk.run(STOP, COLUMNS, rows)


def _last_word(rows: Collection[_StoredOptOut]) -> _StoredOptOut:
    last = max(rows, key=lambda row: row.order)
    stop = next((row for row in rows if row.is_on_platform), None)
    if stop is not None and last.lifted_by not in (OptOutSource.PLATFORM, OptOutSource.API):
        return stop._replace(said_at=max(stop.said_at, last.said_at))
    return last
