"""Lists are forgotten; what became of their rows is not."""

from __future__ import annotations

from datetime import datetime, timedelta

from messaging.broadcasts import retention
from messaging.broadcasts.queries import counts
from messaging.models import Broadcast, BroadcastRecipient
from tests.broadcasts.conftest import deliver_all, draft, people, start, template, tend
from tests.conftest import Cast


def kept(broadcast: Broadcast) -> int:
    rows = BroadcastRecipient.objects.filter(broadcast_id=broadcast.id)
    return rows.exclude(sealed=None).count()


def completed(cast: Cast, now: datetime) -> Broadcast:
    template(cast)
    broadcast = start(draft(cast, people(3)), now)
    deliver_all(broadcast)
    return tend(broadcast, now)


def test_it_forgets_a_list_some_days_after_the_end(
    acme: Cast, globex: Cast, now: datetime, settings, monkeypatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    settings.SIGMA_BROADCAST_KEEP_DAYS = 3
    broadcast, other = completed(acme, now), completed(globex, now + timedelta(days=1))

    assert retention.purge(now=now + timedelta(days=3, seconds=-1)) == 0
    assert retention.purge(now=now + timedelta(days=3)) == 3

    broadcast.refresh_from_db()
    assert (kept(broadcast), kept(other)) == (0, 3)
    assert broadcast.purged_at == now + timedelta(days=3)
    assert counts(broadcast).sent == 3
    assert retention.purge(now=now + timedelta(days=3)) == 0


def test_it_forgets_a_list_at_the_tenants_window_if_that_is_sooner(
    acme: Cast, now: datetime
) -> None:
    acme.tenant.retention_days = 2
    acme.tenant.save()
    broadcast = completed(acme, now)

    assert retention.purge(now=broadcast.created_at + timedelta(days=2)) == 3


def test_it_ends_what_was_never_started_when_its_list_has_to_go(acme: Cast, now: datetime) -> None:
    template(acme)
    forgotten, paused = draft(acme, people(3)), start(draft(acme, people(2)), now)
    later = paused.created_at + timedelta(days=30)

    assert retention.purge(now=later) == 5

    for broadcast in (forgotten, paused):
        assert tend(broadcast, later).state == "CANCELLED"
        assert "may be kept" in broadcast.reason
        assert broadcast.ended_at == later
    assert counts(paused).cancelled == 2
