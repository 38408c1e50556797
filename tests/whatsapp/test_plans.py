"""What storing costs does not depend on what the planner believes about tables that just grew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from connectors.simulator.traffic import Mix, Traffic
from connectors.simulator.updates import Business
from connectors.whatsapp.processing import process_batch
from lib import bulk
from messaging import conversations, identities
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text

pytestmark = pytest.mark.django_db

# They grow with every callback, by thousands between two looks of PostgreSQL's statistics.
GROWING = {
    "contact_identities", "contacts", "conversations", "media", "message_statuses", "messages",
}  # fmt: skip
PHONE, USER = "15550100777", "US.13491208655302741918"
LOOK_UPS = {"Index Scan", "Index Only Scan", "ModifyTable", "Tid Scan"}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's nodes, itself first."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def two_who_are_one(cast: Cast) -> None:
    """Write as somebody by number, then by user id, then by both."""
    identities_told = (
        {"from": PHONE},
        {"from_user_id": USER},
        {"from": PHONE, "from_user_id": USER},
    )
    for number, told in enumerate(identities_told):
        message = {**text(f"wamid.ONE{number}"), **told}
        if "from" not in told:
            del message["from"]
        deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[message]))
        process_batch(1)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Return the plans of the statements that are run with many rows."""
    found: dict[str, dict[str, Any]] = {}
    run = bulk.run

    def explained(sql: str, columns: Sequence[str], rows: bulk.Rows) -> list[tuple[Any, ...]]:
        if rows:
            ((plan,),) = run(f"EXPLAIN (FORMAT JSON) {sql}", columns, rows)
            found[sql] = plan[0]["Plan"]
        return run(sql, columns, rows)

    monkeypatch.setattr(bulk, "run", explained)
    return found


def test_it_looks_rows_up_in_an_index_and_nothing_else(
    acme: Cast, globex: Cast, plans: dict[str, dict[str, Any]]
) -> None:
    for cast in (acme, globex):
        business = Business(cast.workspace.waba_id, cast.workspace.external_id)
        traffic = Traffic(business, Mix(batch=5), seed=1, now=1_790_000_000)
        for posted in traffic.callbacks(60):
            deliver(cast.tenant.id, posted.body)
    while process_batch(25):
        pass
    for cast in (acme, globex):
        two_who_are_one(cast)

    assert Message.objects.count() > 100
    assert len(plans) > 15
    assert plans.keys() >= {identities.MERGE, identities.HAND_OVER, conversations.LEAD_ON}
    for sql, plan in plans.items():
        for node in nodes(plan):
            if node.get("Relation Name") in GROWING:
                assert node["Node Type"] in LOOK_UPS, f"{node} of {sql}"
