"""What the ledger opens in order to count, and where it stops."""

from __future__ import annotations

import pytest

from connectors.whatsapp import ledger
from connectors.whatsapp.processing import process_batch
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text

pytestmark = pytest.mark.django_db


def owe(cast: Cast, callbacks: int) -> int:
    """Owe callbacks of two updates each; return the size of one."""
    for number in range(callbacks):
        messages = [text(f"wamid.{number}.{one}") for one in range(2)]
        deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=messages))
    return len(str(messages))


def test_it_counts_the_updates_of_what_waits(acme: Cast, globex: Cast) -> None:
    owe(acme, 3)

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
    owe(acme, 3)

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
    owe(acme, 2)

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
