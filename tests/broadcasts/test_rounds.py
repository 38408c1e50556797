"""Who is looked at when, where there is more to look after than one process gets done at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import pytest

from messaging.broadcasts import lifecycle, tending
from messaging.broadcasts.tending import Broadcasts
from messaging.delivery.pauses import Pause, pause
from messaging.models import Broadcast, BroadcastState
from tests.broadcasts.conftest import draft, ids, people, start, template, turn
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


class Played:
    """The time of a round, which passes only while somebody is looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.cost, self.looked = 1_000.0, 0.0, list[tending.Live]()
        self._advance = tending._advance
        monkeypatch.setattr(tending, "time", self)
        monkeypatch.setattr(tending, "_advance", self.advance)

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, live: tending.Live, now: datetime) -> tuple[int, float]:
        self.seconds += self.cost
        self.looked.append(live)
        return self._advance(live, now)

    def rounds(
        self, work: Broadcasts, count: int, pause: float = 0.25
    ) -> Iterator[list[tending.Live]]:
        """Yield whom each of so many rounds looks at."""
        for _ in range(count):
            self.looked = []
            work.step()
            yield self.looked
            self.seconds += pause


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(monkeypatch)


@pytest.fixture
def work(now: datetime) -> Broadcasts:
    return Broadcasts(lambda: now, 0.0)


def started(cast: Cast, now: datetime, *, lists: int) -> list[Broadcast]:
    """Let so many lists of a tenant be checked."""
    found = [draft(cast, people(3)) for _ in range(lists)]
    for broadcast in found:
        lifecycle.start(**ids(broadcast), now=now)
    return found


def test_a_round_is_cut_and_goes_on_where_it_was(
    acme: Cast, now: datetime, played: Played, work: Broadcasts
) -> None:
    template(acme)
    started(acme, now, lists=12)
    turn(now)
    played.cost = 0.11

    rounds = list(played.rounds(work, 3, pause=0.0))
    assert [len(looked) for looked in rounds[:2]] == [5, 5]
    looked = [live.id for looked in rounds for live in looked]
    assert len(set(looked[:12])) == 12


def test_running_ones_go_before_lists_that_are_checked(
    acme: Cast, globex: Cast, now: datetime, played: Played, work: Broadcasts
) -> None:
    for cast in (acme, globex):
        template(cast)
    start(draft(globex, people(300)), now)
    started(acme, now, lists=12)
    played.cost = 0.2

    assert [[live.state for live in looked] for looked in played.rounds(work, 1)] == [
        ["RUNNING", "CHECKING", "CHECKING"]
    ]
    # There are more running ones than a round has time for: one list is checked in any case.
    played.cost = 0.6
    rounds = [Counter(live.state for live in looked) for looked in played.rounds(work, 3)]
    assert rounds == [Counter(RUNNING=1, CHECKING=1)] * 3


def test_tenants_take_turns_at_having_lists_checked(
    acme: Cast, globex: Cast, now: datetime, played: Played, work: Broadcasts
) -> None:
    for cast in (acme, globex):
        template(cast)
    started(acme, now, lists=6)
    (theirs,) = started(globex, now, lists=1)
    played.cost = 0.3
    list(played.rounds(work, 1))

    theirs.refresh_from_db()
    assert theirs.state == BroadcastState.RUNNING


def test_one_that_something_is_in_the_way_of_is_looked_at_once_a_second(
    acme: Cast, now: datetime, played: Played, work: Broadcasts
) -> None:
    template(acme)
    broadcast = start(draft(acme, people(300)), now)
    pause([Pause(broadcast.tenant_id, broadcast.workspace_id, 131042, "No.")], now=now)

    assert sum(map(len, played.rounds(work, 12))) == 3


def test_a_full_outbox_is_looked_at_again_before_it_is_empty(
    acme: Cast, now: datetime, played: Played, work: Broadcasts
) -> None:
    template(acme)
    start(draft(acme, people(300)), now)

    assert [len(look) for look in played.rounds(work, 5)] == [1, 0, 1, 0, 1]


def test_one_that_fails_is_left_alone_for_longer_and_longer(
    acme: Cast, globex: Cast, now: datetime, played: Played, caplog: pytest.LogCaptureFixture
) -> None:
    for cast in (acme, globex):
        template(cast)
    start(draft(globex, people(300)), now)
    (broken,) = started(acme, now, lists=1)
    Broadcast.objects.filter(pk=broken.pk).update(shared={"unknown": 1})
    for _ in range(12):  # a turn of five seconds each
        list(played.rounds(Broadcasts(lambda: now, 0.0), 20))

    assert caplog.text.count("not tended") == 6
