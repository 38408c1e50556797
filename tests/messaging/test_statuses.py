"""Where a message got to, whatever order its receipts arrive in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.statuses import FAILED, RANK, Progress, Receipt, advance

START = datetime(2026, 11, 1, tzinfo=UTC)
NOTHING = Progress(None, {})

receipts = st.builds(
    Receipt,
    status=st.sampled_from(["sent", "delivered", "read", "played", "failed", "warning", "new"]),
    timestamp=st.integers(0, 5).map(lambda seconds: START + timedelta(seconds=seconds)),
    errors=st.none() | st.just([{"code": 131026}]),
    pricing=st.none() | st.just({"category": "utility"}),
)


def at(word: str, second: int, **more: object) -> Receipt:
    return Receipt(word, START + timedelta(seconds=second), **more)


def rank(status: str | None) -> int:
    return RANK.get(status or "", 0)


@given(st.lists(st.lists(receipts, max_size=4), max_size=6))
def test_it_never_goes_back(batches: list[list[Receipt]]) -> None:
    progress = NOTHING
    for batch in batches:
        after = advance(progress, batch)
        assert after.status == FAILED or rank(after.status) >= rank(progress.status)
        assert progress.status != FAILED or after.status == FAILED
        assert after.status != FAILED or rank(progress.status) < RANK["delivered"]
        progress = after


@given(st.lists(st.lists(receipts, max_size=4), max_size=6))
def test_it_keeps_what_was_known_first(batches: list[list[Receipt]]) -> None:
    progress = NOTHING
    for batch in batches:
        after = advance(progress, batch)
        assert after.delivery.items() >= progress.delivery.items()
        progress = after


@given(st.lists(receipts, max_size=8), st.randoms())
def test_it_does_not_depend_on_the_order_within_a_batch(batch: list[Receipt], random) -> None:
    shuffled = random.sample(batch, len(batch))
    assert advance(NOTHING, shuffled).status == advance(NOTHING, batch).status
    assert advance(NOTHING, shuffled).delivery.keys() == advance(NOTHING, batch).delivery.keys()


@given(st.lists(receipts.filter(lambda r: r.status != FAILED), max_size=8), st.data())
def test_it_ends_alike_in_every_cut_without_a_failure(
    batch: list[Receipt], data: st.DataObject
) -> None:
    once = advance(NOTHING, batch)
    one_by_one = NOTHING
    for receipt in data.draw(st.permutations(batch)):
        one_by_one = advance(one_by_one, [receipt])
    assert one_by_one.status == once.status


@given(st.lists(receipts, max_size=6))
def test_it_changes_nothing_by_repetition(batch: list[Receipt]) -> None:
    once = advance(NOTHING, batch)
    assert advance(once, batch) == once


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["sent", "delivered", "read"], "read"),
        (["read"], "read"),  # Meta omits "delivered" when both happen at once
        (["read", "delivered", "sent"], "read"),
        (["sent", "failed"], "failed"),
        (["failed", "sent"], "failed"),
        (["delivered", "failed"], "delivered"),
        (["failed", "read"], "failed"),
        (["read", "played"], "played"),
        (["sent", "something new"], "sent"),
    ],
)
def test_it_moves_as_documented(words: list[str], status: str) -> None:
    progress = NOTHING
    for second, word in enumerate(words):
        progress = advance(progress, [at(word, second)])
    assert progress.status == status


def test_it_keeps_the_times_and_reasons_it_was_told() -> None:
    errors, pricing = [{"code": 131026}], {"category": "utility"}
    batch = [at("sent", 1, pricing=pricing), at("failed", 2, errors=errors), at("failed", 9)]
    delivery = advance(NOTHING, batch).delivery
    assert delivery == {
        "sent_at": at("", 1).timestamp.isoformat(),
        "failed_at": at("", 2).timestamp.isoformat(),
        "errors": errors,
        "pricing": pricing,
    }
