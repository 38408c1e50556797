"""The state machine of a session: every rule, and that nothing else can happen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.linked_device import events
from connectors.linked_device.events import LinkedAccount
from connectors.linked_device.machine import (
    Action,
    CodeGiven,
    CodeRefused,
    ExitMode,
    Linked,
    Machine,
    MachineEvent,
    RateLimitWait,
    ShowPairing,
)
from connectors.linked_device.machine import (
    BareAction as Act,
)
from connectors.linked_device.models import FINAL, TIMED, PairBy
from connectors.linked_device.models import SessionState as S
from connectors.linked_device.status import SessionStatus

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
ACCOUNT = LinkedAccount(number="27711558396", platform="iphone")
AGAIN, LAST = ExitMode.RESTART, ExitMode.FINAL


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def machine(
    *, is_paired: bool = True, by: PairBy = PairBy.QR, limit: RateLimitWait | None = None
) -> Machine:
    return Machine(is_paired=is_paired, pair_by=by, limit=limit or RateLimitWait(), now=NOW)


def connected(limit: RateLimitWait | None = None) -> Machine:
    one = machine(limit=limit)
    one.handle(events.Connected(ACCOUNT), now=NOW)
    return one


def rotation(one: Machine) -> list[ShowPairing]:
    """Let the device show its six QR codes."""
    shown: list[Action] = []
    for number, (at, seconds) in enumerate(zip(range(40, 160, 20), [60, *[20] * 5], strict=True)):
        at = 0 if number == 0 else at
        shown += one.handle(events.QrShown(f"code-{number}", seconds), now=later(at))
    return [action for action in shown if isinstance(action, ShowPairing)]


def test_it_shows_six_qr_codes_each_until_the_next() -> None:
    one = machine(is_paired=False)

    shown = rotation(one)

    assert [(s.by, s.code) for s in shown] == [(PairBy.QR, f"code-{n}") for n in range(6)]
    assert [(s.expires_at - NOW).seconds for s in shown] == [60, 80, 100, 120, 140, 160]
    assert one.status.state == S.PAIRING
    assert "scan" in one.status.reason


def test_it_shows_no_code_for_longer_than_a_pairing_lasts() -> None:
    one = machine(is_paired=False)
    one.handle(events.QrShown("x", 60), now=NOW)

    assert one.handle(events.QrShown("y", 20), now=later(150)) == [
        ShowPairing(PairBy.QR, "y", later(160))
    ]


def test_it_gives_a_pairing_up_when_nobody_scanned() -> None:
    one = machine(is_paired=False)
    rotation(one)

    actions = one.handle(events.PairingTimedOut(), now=later(160))

    assert actions == [Act.GIVE_UP_PAIRING, Act.FORGET_PAIRING, LAST]
    assert one.status.state == S.STOPPED
    assert "Pair again" in one.status.reason


def test_it_gives_a_pairing_up_by_itself_when_the_device_says_nothing() -> None:
    one = machine(is_paired=False)
    rotation(one)

    assert one.tick(now=later(164)) == []
    assert one.tick(now=later(165)) == [Act.GIVE_UP_PAIRING, Act.FORGET_PAIRING, LAST]


def test_it_asks_once_for_a_code_that_is_good_for_what_is_left() -> None:
    one = machine(is_paired=False, by=PairBy.CODE)

    asked = [one.handle(events.QrShown("x", 60), now=later(at)) for at in (0, 60)]
    shown = one.handle(CodeGiven("abcd1234"), now=later(3))

    assert asked == [[Act.ASK_PAIR_CODE], []]
    assert shown == [ShowPairing(PairBy.CODE, "ABCD-1234", later(160))]


def test_it_says_so_when_there_is_no_code() -> None:
    one = machine(is_paired=False, by=PairBy.CODE)
    one.handle(events.QrShown("x", 60), now=NOW)

    assert one.handle(CodeRefused("bad number 447700900123"), now=NOW)[0] == Act.GIVE_UP_PAIRING
    assert one.status.state == S.STOPPED
    assert "447700900123" not in one.status.reason


def test_it_waits_when_codes_were_asked_for_too_often() -> None:
    one = machine(is_paired=False, by=PairBy.CODE)
    one.handle(events.QrShown("x", 60), now=NOW)

    assert one.handle(CodeRefused("429", is_limit=True), now=NOW) == [
        Act.FORGET_PAIRING,
        LAST,
    ]
    assert (one.status.state, one.status.until) == (S.RATE_LIMITED, later(3600))


def test_it_expects_the_restart_that_follows_pairing() -> None:
    one = machine(is_paired=False)
    rotation(one)

    linked = Linked(ACCOUNT)
    assert one.handle(events.Paired(ACCOUNT), now=later(100)) == [Act.FORGET_PAIRING, linked]
    assert one.handle(events.QrShown("late", 20), now=later(100)) == []
    assert one.handle(events.Disconnected("515"), now=later(101)) == []
    assert one.status.state == S.STARTING
    assert one.handle(events.Connected(ACCOUNT), now=later(102)) == [Linked(ACCOUNT)]
    assert one.status.state == S.CONNECTED


def test_it_pairs_nobody_whose_store_should_have_an_account() -> None:
    one = machine()

    assert one.handle(events.QrShown("x", 60), now=NOW) == [LAST]
    assert one.status.state == S.LOGGED_OUT
    assert "Restore a backup" in one.status.reason


def test_it_lets_the_device_reconnect_for_three_minutes() -> None:
    one = connected()
    one.handle(events.Disconnected("EOF"), now=later(60))

    assert (one.status.state, one.status.until) == (S.DISCONNECTED, later(240))
    assert one.tick(now=later(239)) == []
    assert one.tick(now=later(240)) == [AGAIN]
    assert one.status.state == S.FAILED


def test_it_is_connected_again_when_the_device_is() -> None:
    one = connected()
    one.handle(events.Disconnected(), now=later(60))
    one.handle(events.Disconnected(), now=later(100))
    one.handle(events.Connected(ACCOUNT), now=later(120))

    assert one.status.state == S.CONNECTED
    assert one.tick(now=later(1000)) == [Act.FORGET_FAILURES]


def test_it_believes_in_silence_after_three_missed_keep_alives() -> None:
    one = connected()
    states = []
    for misses in (1, 2, 3):
        one.handle(events.KeepAliveMissed(misses), now=later(misses * 25))
        states.append(one.status.state)

    assert states == [S.CONNECTED, S.CONNECTED, S.DISCONNECTED]
    one.handle(events.KeptAlive(), now=later(100))
    assert one.status.state == S.CONNECTED


def test_a_keep_alive_does_not_mend_a_connection_that_was_lost() -> None:
    one = connected()
    one.handle(events.Disconnected(), now=later(10))
    one.handle(events.KeptAlive(), now=later(11))
    assert one.status.state == S.DISCONNECTED

    one.handle(events.Connected(ACCOUNT), now=later(12))
    one.handle(events.KeepAliveMissed(3), now=later(90))
    one.handle(events.Disconnected(), now=later(91))
    one.handle(events.KeptAlive(), now=later(92))
    assert one.status.state == S.DISCONNECTED


def test_it_starts_again_later_when_nothing_connects() -> None:
    failed, silent = machine(), machine()

    assert failed.handle(events.ConnectFailed("dns"), now=NOW) == [AGAIN]
    assert silent.tick(now=later(180)) == [AGAIN]
    assert (failed.status.state, silent.status.state) == (S.FAILED, S.FAILED)


ENDS = {
    events.Replaced(): (S.CONFLICT, None, "start this session again", [LAST]),
    events.LoggedOut("device_removed"): (
        S.LOGGED_OUT,
        None,
        "Pair again",
        [Act.UNLINK, LAST],
    ),
    events.TemporarilyBanned(101, later(60)): (S.BANNED, later(60), "address books", [LAST]),
    events.TemporarilyBanned(199): (S.BANNED, later(86400), "reason 199", [LAST]),
    events.ClientOutdated(): (S.OUTDATED, None, "Update the software", [LAST]),
}


@pytest.mark.parametrize("event", ENDS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("one", [machine, connected], ids=["starting", "connected"])
def test_it_ends_for_good_and_says_what_to_do(event: MachineEvent, one: object) -> None:
    state, until, remedy, actions = ENDS[event]
    it = one()  # type: ignore[operator]

    assert it.handle(event, now=NOW) == actions
    assert (it.status.state, it.status.until) == (state, until)
    assert remedy in it.status.reason
    assert it.handle(events.Connected(ACCOUNT), now=later(1)) == []
    assert it.status.state == state, "it never comes back by itself"


def test_it_waits_out_a_limit_and_goes_on_by_itself() -> None:
    one = connected()
    one.handle(events.RateLimited(90), now=NOW)

    assert (one.status.state, one.status.until) == (S.RATE_LIMITED, later(90))
    assert not one.may_send
    one.tick(now=later(90))
    assert one.status.state == S.CONNECTED
    assert one.may_send


def test_a_wait_becomes_no_shorter() -> None:
    one = connected()
    one.handle(events.RateLimited(), now=NOW)
    one.handle(events.RateLimited(5), now=NOW)
    assert one.status.until == later(3600)

    one.handle(events.RateLimited(7200), now=NOW)
    assert one.status.until == later(7200)


def test_it_waits_longer_each_time_and_never_longer_than_a_day() -> None:
    one, at, waits = connected(), NOW, []
    for _ in range(7):
        one.handle(events.RateLimited(), now=at)
        one.handle(events.RateLimited(), now=at)  # two sends at once are one time
        assert one.status.until is not None
        waits.append((one.status.until - at).total_seconds() / 3600)
        at = one.status.until
        one.tick(now=at)

    assert waits == [1, 2, 4, 8, 16, 24, 24]


def test_it_forgets_limits_after_a_quiet_day() -> None:
    one = connected()
    for at in (0, 1e6):
        one.handle(events.RateLimited(), now=later(at))
        assert one.status.until == later(at + 3600)
        one.tick(now=later(at + 3600))


def test_a_new_connection_does_not_lift_a_limit() -> None:
    one = connected()
    one.handle(events.RateLimited(3600), now=NOW)
    one.handle(events.Disconnected(), now=later(10))
    one.handle(events.Connected(ACCOUNT), now=later(20))
    assert (one.status.state, one.status.until) == (S.RATE_LIMITED, later(3600))

    one.handle(events.Disconnected(), now=later(30))
    one.tick(now=later(300))
    assert (one.status.state, one.status.until) == (S.RATE_LIMITED, later(3600))
    assert one.exit_mode == ExitMode.FINAL


def test_a_new_process_does_not_lift_a_limit() -> None:
    one = connected(RateLimitWait(later(600), timedelta(hours=1)))

    assert (one.status.state, one.status.until) == (S.RATE_LIMITED, later(600))


def test_a_stop_does_not_lift_a_limit() -> None:
    one, stopped = connected(), SessionStatus(S.STOPPED, "Stopped.")
    assert one.stopped(stopped, now=NOW) == stopped

    one.handle(events.RateLimited(600), now=NOW)
    assert one.stopped(stopped, now=NOW).until == later(600)
    assert one.stopped(stopped, now=later(600)) == stopped


def test_it_is_steady_after_a_minute_and_says_so_once() -> None:
    one = connected()

    assert [one.tick(now=later(at)) for at in (59, 60, 61)] == [
        [],
        [Act.FORGET_FAILURES],
        [],
    ]


def test_it_ignores_and_counts_what_means_nothing() -> None:
    one = connected()
    one.handle(events.PairingTimedOut(), now=NOW)
    one.handle(CodeGiven("ABCD1234"), now=NOW)

    assert one.status.state == S.CONNECTED
    assert one.ignored == {"PairingTimedOut": 1, "CodeGiven": 1}


HEARD = st.sampled_from(
    [
        events.QrShown("x", 20),
        events.PairingTimedOut(),
        events.Paired(ACCOUNT),
        events.Connected(ACCOUNT),
        events.Connected(ACCOUNT),
        events.Disconnected(),
        events.KeptAlive(),
        events.KeepAliveMissed(1),
        events.KeepAliveMissed(4),
        events.Replaced(),
        events.LoggedOut(),
        events.TemporarilyBanned(101),
        events.RateLimited(),
        events.RateLimited(30),
        events.ClientOutdated(),
        events.ConnectFailed(),
        CodeGiven("ABCD1234"),
        CodeRefused("no"),
        CodeRefused("no", is_limit=True),
    ]
)
SOON = st.sampled_from([0.0, 1.0, 20.0, 61.0, 200.0, 4000.0])


@settings(max_examples=300, deadline=None)
@given(
    is_paired=st.booleans(),
    by=st.sampled_from(PairBy),
    story=st.lists(st.tuples(SOON, HEARD), max_size=30),
)
def test_whatever_happens_it_moves_by_the_table(
    is_paired: bool, by: PairBy, story: list[tuple[float, MachineEvent]]
) -> None:
    one, at = machine(is_paired=is_paired, by=by), NOW
    for seconds, event in story:
        at += timedelta(seconds=seconds)
        before, left = one.status.state, one.exit_mode
        actions = one.tick(now=at) + one.handle(event, now=at)

        assert not [name for name in one.ignored if " to " in name], "an illegal transition"
        assert left is None or (one.status.state == before and actions == [])
        exits = [action for action in actions if isinstance(action, ExitMode)]
        assert exits == ([one.exit_mode] if one.exit_mode != left else [])
        assert one.status.state not in FINAL or one.exit_mode == ExitMode.FINAL
        waits = one.status.state in {*TIMED, S.PAIRING, S.DISCONNECTED, S.STARTING}
        assert (one.status.until is not None) == waits
        assert one.status.reason
        assert one.may_send == (one.status.state == S.CONNECTED)


def test_it_takes_a_pairing_away_when_the_device_connects_without_another_word() -> None:
    one = machine(is_paired=False)
    rotation(one)

    actions = one.handle(events.Connected(ACCOUNT), now=later(30))

    assert actions == [Act.FORGET_PAIRING, Linked(ACCOUNT)]
    assert (one.status.state, one.may_send) == (S.CONNECTED, True)


def test_a_device_that_was_linked_has_three_minutes_to_connect() -> None:
    one = machine(is_paired=False)
    rotation(one)
    one.handle(events.Paired(ACCOUNT), now=later(20))

    assert one.status.until == later(200)
    assert one.tick(now=later(199)) == []
    assert one.tick(now=later(200)) == [AGAIN]


@pytest.mark.parametrize("code", ["abcd1234", "ABCD-1234", " ab cd.12-34 "])
def test_a_pairing_code_is_shown_as_the_phone_asks_for_it(code: str) -> None:
    one = machine(is_paired=False, by=PairBy.CODE)
    one.handle(events.QrShown("x", 60), now=NOW)

    (shown,) = one.handle(CodeGiven(code), now=later(1))

    assert isinstance(shown, ShowPairing)
    assert shown.code == "ABCD-1234"


@pytest.mark.parametrize(("quiet", "hours"), [(86_400, 2), (86_401, 1)])
def test_a_limit_counts_for_a_day_after_its_end(quiet: int, hours: int) -> None:
    wait = RateLimitWait()
    wait.extend(None, now=NOW)
    assert wait.until == later(3600)

    wait.extend(None, now=later(3600 + quiet))

    assert wait.until == later(3600 + quiet + 3600 * hours)


@given(
    st.lists(
        st.tuples(st.integers(0, 100_000), st.none() | st.integers(-10, 200_000)),
        max_size=12,
    )
)
def test_no_limit_ends_sooner_for_another_one(limits: list[tuple[int, int | None]]) -> None:
    wait, at = RateLimitWait(), 0
    for pause, retry_after in limits:
        at += pause
        before = wait.until
        wait.extend(retry_after, now=later(at))
        assert wait.until is not None
        assert before is None or wait.until >= before
        if retry_after is None:
            assert wait.holds(later(at))
        if retry_after is not None and retry_after > 0:
            assert wait.until >= later(at + retry_after)
