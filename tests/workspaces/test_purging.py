"""What a purge believes before it destroys anything: clocks that agree, and days that did pass."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from workspaces import purging
from workspaces.models import PurgeRun
from workspaces.purging import PurgeRefused

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEFORE = date(2026, 10, 22)


def is_refused(*, oldest: date | None, before: date, now: datetime, force: bool = False) -> bool:
    try:
        purging.check_days("raw", oldest=oldest, before=before, now=now, force=force)
    except PurgeRefused:
        return True
    return False


@pytest.fixture
def ran() -> None:
    """A purge that ran to its end at noon."""
    purging.note_run("raw", before=BEFORE, now=NOW)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_bears_clocks_that_differ_by_five_minutes_and_no_more(
    monkeypatch: pytest.MonkeyPatch, sign: int
) -> None:
    monkeypatch.setattr(purging, "database_now", lambda: NOW)
    allowed = sign * timedelta(minutes=5)
    beyond = allowed + sign * timedelta(seconds=1)

    assert purging.moment(host=NOW + allowed) == NOW
    with pytest.raises(PurgeRefused, match=f"{NOW + beyond:%H:%M}.* and of the database .*12:00"):
        purging.moment(host=NOW + beyond)
    assert purging.moment(host=NOW + beyond, force=True) == NOW


@pytest.mark.parametrize(
    ("passed", "taken", "refused"),
    [(0, 1, False), (0, 2, True), (1, 2, False), (1, 3, True), (9, 10, False), (9, 11, True)],
)
def test_it_takes_one_day_more_than_have_begun_since_its_last_run(
    ran: None, passed: int, taken: int, refused: bool
) -> None:
    days = {"oldest": BEFORE, "before": BEFORE + taken * DAY, "now": NOW + passed * DAY}

    assert is_refused(**days) == refused
    assert not is_refused(**days, force=True)


def test_a_day_has_begun_at_midnight_not_after_24_hours(ran: None) -> None:
    days = {"oldest": BEFORE, "before": BEFORE + 2 * DAY}
    midnight = datetime(2026, 11, 22, tzinfo=UTC)

    assert is_refused(**days, now=midnight - timedelta(seconds=1))
    assert not is_refused(**days, now=midnight)


def test_it_counts_no_day_that_its_last_run_left_behind(ran: None) -> None:
    before = BEFORE + DAY

    assert not is_refused(oldest=BEFORE - 300 * DAY, before=before, now=NOW)
    assert not is_refused(oldest=BEFORE + 7 * DAY, before=BEFORE + 8 * DAY, now=NOW)
    PurgeRun.objects.update(before=None)
    assert is_refused(oldest=BEFORE - 300 * DAY, before=before, now=NOW)


def test_it_believes_the_first_run_and_one_that_finds_nothing(ran: None) -> None:
    far = BEFORE + 900 * DAY

    assert not is_refused(oldest=None, before=far, now=NOW)
    assert is_refused(oldest=BEFORE, before=far, now=NOW)
    purging.check_days("lists", oldest=BEFORE, before=far, now=NOW, force=False)


def test_it_remembers_one_run_of_each_kind(ran: None) -> None:
    purging.note_run("lists", before=BEFORE - DAY, now=NOW - DAY)
    purging.note_run("raw", before=BEFORE + DAY, now=NOW + DAY)

    rows = PurgeRun.objects.order_by("what").values_list("what", "before", "ran_at")
    assert list(rows) == [
        ("lists", BEFORE - DAY, NOW - DAY),
        ("raw", BEFORE + DAY, NOW + DAY),
    ]
