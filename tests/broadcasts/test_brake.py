"""A broadcast that goes wrong stops by itself, and what failed is sent again by one call."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from messaging.broadcasts import lifecycle
from messaging.broadcasts.brake import ALIKE, FIRST, MOST_FAILED, Seen, why
from messaging.broadcasts.queries import counts
from messaging.models import Broadcast, BroadcastRecipient, Message, PendingSend
from tests.broadcasts.conftest import draft, people, start, template, tend
from tests.conftest import Cast
from tests.graphql.conftest import gql

__all__ = ("gql",)

pytestmark = pytest.mark.django_db
FAIL = """
WITH gone AS (DELETE FROM outbox WHERE message_id = ANY (%(ids)s))
UPDATE messages SET status = 'failed',
    platform_message_id = CASE WHEN %(taken)s THEN id::text END,
    delivery = delivery || jsonb_build_object('failed_at', clock_timestamp()::text, 'errors',
        jsonb_build_array(jsonb_build_object('code', %(code)s::int, 'title', 'No.')))
WHERE id = ANY (%(ids)s)
"""
TAKE = """
WITH gone AS (DELETE FROM outbox WHERE message_id = ANY (%(ids)s))
UPDATE messages SET status = %(status)s, platform_message_id = id::text,
    delivery = delivery || jsonb_build_object('accepted_at', clock_timestamp()::text)
WHERE id = ANY (%(ids)s)
"""


def due(broadcast: Broadcast) -> list:
    """Return the ids of the messages of a broadcast that wait, in the order of its list."""
    rows = BroadcastRecipient.objects.filter(broadcast_id=broadcast.id, state="QUEUED")
    waiting = set(Message.objects.filter(status="queued").values_list("id", flat=True))
    ordered = rows.order_by("position").values_list("message_id", flat=True)
    return [one for one in ordered if one in waiting]


def fail(ids: list, code: int = 131026, *, taken: bool = False) -> None:
    """Let messages be refused, or reported as failed after they were ``taken``."""
    with connection.cursor() as cursor:
        cursor.execute(FAIL, {"ids": ids, "code": code, "taken": taken})


def take(ids: list, status: str = "accepted") -> None:
    """Let messages be accepted, or get further."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {"ids": ids, "status": status})


@pytest.fixture
def broadcast(acme: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Broadcast:
    """A broadcast of acme's to 300 people, all in the outbox."""
    monkeypatch.setattr("messaging.broadcasts.feeding.window", lambda broadcast: 300)
    template(acme)
    return start(draft(acme, people(300)), now)


@pytest.mark.parametrize("taken", [False, True])
def test_it_pauses_when_the_last_outcomes_are_one_same_refusal(
    broadcast: Broadcast, now: datetime, taken: bool
) -> None:
    ids = due(broadcast)
    take(ids[:40], "delivered")
    fail(ids[40 : 40 + ALIKE - 1], 131042, taken=taken)
    assert tend(broadcast, now).state == "RUNNING"
    fail(ids[40 + ALIKE - 1 : 40 + ALIKE], 131042, taken=taken)
    tend(broadcast, now)

    assert broadcast.state == "PAUSED"
    assert "131042" in broadcast.reason
    assert not PendingSend.objects.filter(due_at__isnull=False).exists()


def test_reports_that_are_late_do_not_make_refusals_look_alike(
    broadcast: Broadcast, now: datetime
) -> None:
    ids = due(broadcast)
    for first in range(0, 200, 10):
        take(ids[first : first + 9])
        fail(ids[first + 9 : first + 10])

    assert tend(broadcast, now).state == "RUNNING"


def test_it_pauses_when_many_of_the_first_fail_for_whatever_reasons(
    broadcast: Broadcast, now: datetime
) -> None:
    ids = due(broadcast)
    for n in range(0, 4 * MOST_FAILED, 4):
        fail(ids[n : n + 1], 131026 if n % 8 else 131049, taken=bool(n % 3))
        take(ids[n + 1 : n + 4], "delivered")
    assert tend(broadcast, now).state == "RUNNING"
    fail(ids[FIRST - 1 : FIRST])
    tend(broadcast, now)

    assert broadcast.state == "PAUSED"
    assert f"{MOST_FAILED + 1} failed" in broadcast.reason


def test_it_is_judged_anew_by_what_comes_after_somebody_had_it_go_on(
    broadcast: Broadcast, now: datetime
) -> None:
    ids = due(broadcast)
    fail(ids[:50])
    assert tend(broadcast, now).state == "PAUSED"
    at = timezone.now() + timedelta(seconds=1)
    lifecycle.resume(tenant_id=broadcast.tenant_id, broadcast_id=broadcast.id, now=at)
    take(ids[50:60])

    assert tend(broadcast, at).state == "RUNNING"


def ended(broadcast: Broadcast, now: datetime) -> Counter:
    """Let everything fail or go unknown, each third with another end; return the people."""
    ids = due(broadcast)
    fail(ids[:10], 100)
    fail(ids[10:20], 131049, taken=True)
    take(ids[20:], "delivered")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE messages SET status = 'unknown' WHERE id = %s", [ids[-1]])
    assert tend(broadcast, now).state == "COMPLETED"
    return Counter(vars_of(broadcast))


def vars_of(broadcast: Broadcast) -> dict[str, int]:
    counted = counts(broadcast)
    return {name: getattr(counted, name) for name in counted.__slots__}


AGAIN = """mutation Again($id: ID!, $codes: [Int!]) {
  retryFailed(input: {id: $id, codes: $codes}) {
    success count broadcast { state counts { total failed pending unknown } } errors { code }
  }
}"""


@pytest.mark.parametrize(
    ("codes", "again"), [(None, 20), ([100], 10), ([100, 131049], 20), ([7], 0)]
)
def test_it_sends_again_what_failed_and_nothing_else(
    acme: Cast, now: datetime, gql, codes: list[int] | None, again: int
) -> None:
    template(acme)
    broadcast = start(draft(acme, people(60)), now)
    before = set(due(broadcast))
    ended(broadcast, now)
    answer = gql(acme, AGAIN, id=str(broadcast.id), codes=codes).data["retryFailed"]

    assert (answer["success"], answer["count"], answer["errors"]) == (True, again, [])
    assert answer["broadcast"]["state"] == ("RUNNING" if again else "COMPLETED")
    assert answer["broadcast"]["counts"] == {
        "total": 60,
        "failed": 20 - again,
        "pending": again,
        "unknown": 1,
    }
    tend(broadcast, now)
    new = set(due(broadcast))
    assert len(new) == again and not new & before
    take(list(new), "delivered")
    assert tend(broadcast, now).state == "COMPLETED"
    assert vars_of(broadcast)["read"] + vars_of(broadcast)["delivered"] == 39 + again
    # Asked once more there is nobody left.
    assert (
        lifecycle.retry_failed(
            tenant_id=acme.tenant.id, broadcast_id=broadcast.id, codes=codes, now=now
        )[1]
        == 0
    )


def test_it_goes_on_by_one_call_after_a_mistake_was_put_right(
    acme: Cast, globex: Cast, broadcast: Broadcast, now: datetime
) -> None:
    fail(due(broadcast)[:30], 100)
    tend(broadcast, now)
    path = f"/api/v1/broadcasts/{broadcast.id}/retry-failed"

    def ask(cast: Cast, body: object = None):
        headers = {"Authorization": f"Bearer {cast.api_key}"}
        return Client().post(path, json.dumps(body or {}), "application/json", headers=headers)

    assert ask(globex).status_code == 404
    assert ask(acme, {"codes": ["x"]}).status_code == 422
    answer = ask(acme, {"codes": [100]})
    assert (answer.status_code, answer.json()) == (200, {"count": 30, "state": "RUNNING"})
    tend(broadcast, now)
    assert len(due(broadcast)) == 300


@pytest.mark.parametrize("why_not", ["CANCELLED", "DRAFT", "purged", "expired"])
def test_it_refuses_to_send_again(acme: Cast, broadcast: Broadcast, now: datetime, why_not) -> None:
    ids = due(broadcast)
    fail(ids)
    changes = {"purged": {"purged_at": now}, "expired": {"expires_at": now}}
    Broadcast.objects.update(**changes.get(why_not, {"state": why_not}))

    with pytest.raises(lifecycle.UnableToBroadcast):
        lifecycle.retry_failed(tenant_id=acme.tenant.id, broadcast_id=broadcast.id, now=now)
    assert Message.objects.filter(status="failed").count() == len(ids)


OK, BAD = Seen("delivered", True, "", ""), Seen("failed", False, "131026", "No.")


@pytest.mark.parametrize(
    "latest",
    [
        [BAD] * (ALIKE - 1),
        [BAD] * (ALIKE - 1) + [OK],
        [BAD, Seen("failed", False, "131049", "")] * ALIKE,
        [Seen("failed", False, "EXPIRED", "")] * ALIKE,
        [Seen("cancelled", False, "131050", "")] * ALIKE,
        [BAD._replace(is_past=True)] * ALIKE,
        [Seen("unknown", False, "", "")] * ALIKE,
    ],
)
def test_it_goes_on(latest: list[Seen]) -> None:
    assert why([], latest) == ""
    assert why([], [Seen("queued", False, "", "")] * 50 + [BAD] * ALIKE) != ""
