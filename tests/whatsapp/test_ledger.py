"""Every update is in one place, and is counted there: also while it waits, as far as is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.whatsapp import ledger
from connectors.whatsapp.models import DeadKind, WebhookDead
from connectors.whatsapp.processing import process_batch
from messaging.models import Contact, Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from workspaces import keys

pytestmark = pytest.mark.django_db


def leave_pending(cast: Cast, callbacks: int) -> int:
    """Leave pending callbacks of two updates each; return the size of one."""
    for number in range(callbacks):
        messages = [text(f"wamid.{number}.{one}") for one in range(2)]
        deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=messages))
    return len(str(messages))


def test_it_counts_the_updates_of_what_waits(acme: Cast, globex: Cast) -> None:
    leave_pending(acme, 3)

    entry = ledger.read(acme.tenant.id, verify=True)

    assert (entry.pending, entry.pending_callbacks, entry.exact, entry.balanced) == (
        6,
        3,
        True,
        True,
    )
    assert ledger.read(globex.tenant.id).pending == 0


@pytest.mark.parametrize(("limit", "value"), [("MAX_OPENED", 2), ("MAX_OPENED_BYTES", 1_200)])
def test_it_opens_no_more_than_a_web_process_can_bear(
    acme: Cast, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(ledger, limit, value)
    leave_pending(acme, 3)

    entry = ledger.read(acme.tenant.id, verify=True)

    assert (entry.pending, entry.pending_callbacks, entry.exact, entry.balanced) == (
        5,
        3,
        False,
        True,
    )


def test_it_opens_nothing_where_the_first_is_too_large(
    acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MAX_OPENED_BYTES", 1)
    leave_pending(acme, 2)

    entry = ledger.read(acme.tenant.id)

    assert (entry.pending, entry.exact, entry.balanced) == (2, False, True)


def test_it_counts_once_what_was_left_out_beside_several_updates(acme: Cast, globex: Cast) -> None:
    said = [text(f"wamid.{number}") for number in range(3)]
    said[0]["context"] = "x"
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=said, contacts="x"))

    process_batch(10)

    kinds = {entry.kind: entry.count for entry in ledger.read(acme.tenant.id).unhandled_kinds}
    assert kinds == {"malformed:contacts": 1, "malformed:context": 1}
    assert ledger.read(globex.tenant.id).unhandled_kinds == ()


Update = tuple[str, int]

KINDS = ("message", "receipt", "foreign", "broken", "unhandled")
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
updates = st.tuples(st.sampled_from(KINDS), st.integers(0, 5))
posts = st.lists(st.lists(updates, min_size=1, max_size=5), min_size=1, max_size=6)


@contextmanager
def undone() -> Iterator[None]:
    """Leave nothing behind for the next example, not even a key in memory."""
    keys.forget()
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
    keys.forget()


def section(kind: str, number: int) -> tuple[str, object]:
    """Return the list an update stands in, and the update."""
    if kind == "receipt":
        return "statuses", status(f"wamid.S{number}", ("sent", "read")[number % 2])
    if kind == "broken":
        return "messages", "not an object"
    if kind == "unhandled":
        return "calls", {"id": f"wacid.{number}", "event": "connect"}
    return "messages", text(f"wamid.{kind}.{number}", f"Words {number}")


def post(cast: Cast, contents: Sequence[Update]) -> dict:
    """Return one POST with a change per update."""
    envelope = callback(cast.workspace.external_id)
    envelope["entry"][0]["changes"] = []
    for kind, number in contents:
        name, update = section(kind, number)
        owner = "999999999999999" if kind == "foreign" else cast.workspace.external_id
        change = callback(owner, contacts=[contact()], **{name: [update]})["entry"][0]["changes"]
        envelope["entry"][0]["changes"] += change
    return envelope


def assert_balanced(cast: Cast, accepted: int) -> None:
    entry = ledger.read(cast.tenant.id, verify=True)
    placed = entry.processed + entry.quarantined + entry.dead + entry.pending
    assert (entry.accepted, placed) == (accepted, accepted)
    assert entry.balanced
    parked = WebhookDead.objects.filter(tenant_id=cast.tenant.id)
    assert parked.filter(kind=DeadKind.QUARANTINE).count() == entry.quarantined
    assert parked.filter(kind=DeadKind.DEAD).count() == entry.dead


@EXAMPLES
@given(sent=posts, others=posts, batch=st.integers(1, 5))
def test_it_accounts_for_every_update_at_every_step(
    acme: Cast, globex: Cast, sent: list[list[Update]], others: list[list[Update]], batch: int
) -> None:
    with undone():
        for cast, mine in ((acme, sent), (globex, others)):
            for contents in mine:
                deliver(cast.tenant.id, post(cast, contents))
        totals = {cast: sum(map(len, mine)) for cast, mine in ((acme, sent), (globex, others))}
        more = True
        while more:
            for cast, total in totals.items():
                assert_balanced(cast, total)
            more = process_batch(batch) > 0
        assert_rows(acme, sent)
        assert_rows(globex, others)


def assert_rows(cast: Cast, sent: list[list[Update]]) -> None:
    flat = [update for contents in sent for update in contents]
    mine = {"tenant_id": cast.tenant.id}
    entry = ledger.read(cast.tenant.id)
    counts = {kind: sum(k == kind for k, _ in flat) for kind in KINDS}
    distinct = {kind: len({n for k, n in flat if k == kind}) for kind in KINDS}
    assert (entry.pending, entry.dead) == (0, counts["broken"])
    assert (entry.quarantined, entry.unhandled) == (counts["foreign"], counts["unhandled"])
    assert Message.objects.filter(**mine).count() == distinct["message"]
    assert MessageStatus.objects.filter(**mine).count() == distinct["receipt"]
    repeats = sum(counts[kind] - distinct[kind] for kind in ("message", "receipt"))
    assert entry.duplicates == repeats


numbers = st.lists(st.integers(0, 6), min_size=1, max_size=7)


@EXAMPLES
@given(first=st.permutations(range(7)), cuts=st.lists(numbers, max_size=6), data=st.data())
def test_it_has_its_effect_once_in_any_cut(
    acme: Cast, globex: Cast, first: list[int], cuts: list[list[int]], data: st.DataObject
) -> None:
    """Meta sends again in other batches, in another order, to both tenants' URLs."""
    with undone():
        whole = [list(first)]
        for contents in data.draw(st.permutations(whole + cuts)):
            deliver(acme.tenant.id, post(acme, [("message", n) for n in contents]))
            deliver(acme.tenant.id, post(acme, [("receipt", n) for n in contents]))
            deliver(globex.tenant.id, post(globex, [("message", contents[0])]))
            process_batch(data.draw(st.integers(1, 4)))
        drain(lambda: process_batch(3))

        mine = Message.objects.filter(tenant_id=acme.tenant.id)
        assert sorted(mine.values_list("text", flat=True)) == [f"Words {n}" for n in range(7)]
        assert MessageStatus.objects.filter(tenant_id=acme.tenant.id).count() == 7
        assert Contact.objects.filter(tenant_id=acme.tenant.id).count() == 1


def drain(step: Callable[[], int]) -> None:
    while step():
        pass
