from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.simulator.meta import recipients
from connectors.simulator.meta.limits import Bucket, Reached, SlidingWindow
from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import Post, error

# Moments in eighths of a second, in order.
MOMENTS = st.lists(st.integers(0, 800), min_size=1, max_size=120).map(
    lambda eighths: [eighth / 8 for eighth in sorted(eighths)]
)


def most_within(times: list[float], seconds: float) -> int:
    """Return the largest number of times within any such span."""
    return max((sum(at <= other < at + seconds for other in times) for at in times), default=0)


@settings(max_examples=50)
@given(MOMENTS, st.integers(1, 8), st.integers(1, 20))
def test_a_bucket_gives_no_more_than_its_burst_and_its_rate(
    moments: list[float], rate: int, burst: int
) -> None:
    bucket = Bucket(rate, burst)
    taken = [moment for moment in moments if bucket.take(moment)]
    for seconds in (1, 5, 20):
        assert most_within(taken, seconds) <= burst + rate * seconds + 1e-6
    assert len(taken) >= min(burst, len(moments))


@settings(max_examples=50)
@given(MOMENTS, st.integers(1, 8), st.integers(1, 20))
def test_after_the_wait_there_is_room(moments: list[float], rate: int, burst: int) -> None:
    bucket = Bucket(rate, burst)
    for moment in moments:
        if not bucket.take(moment):
            assert bucket.wait(moment) > 0
            assert bucket.take(moment + bucket.wait(moment) + 1e-6)
            return


@settings(max_examples=50)
@given(MOMENTS, st.integers(1, 10))
def test_a_window_holds_its_limit_exactly(moments: list[float], limit: int) -> None:
    window = SlidingWindow(limit, 10)
    taken = [moment for moment in moments if window.take(moment)]
    assert most_within(taken, 10) <= limit
    assert len(taken) >= min(limit, len(moments))


def test_people_reached_are_counted_once_a_day() -> None:
    reached = Reached(2)
    assert [reached.take(who, 0) for who in "aabbc"] == [True, True, True, True, False]
    assert reached.take("c", 24 * 3600)


def test_a_number_sends_so_many_a_second(meta: RunningSimulator, post: Post) -> None:
    meta.control.change("numbers", meta.phone_number_id, messages_per_second=0.5)
    assert post().is_success
    assert error(post())[:2] == (429, 130429)
    meta.control.advance(2)
    assert post().is_success


def test_a_pair_has_a_burst_and_then_one_in_six_seconds(meta: RunningSimulator, post: Post) -> None:
    meta.control.options(status_delays_ms=(1e7, 1e7, 1e7))
    assert all(post().is_success for _ in range(45))
    assert error(post())[:2] == (400, 131056)
    assert post("+447700900124").is_success
    meta.control.advance(6)
    assert post().is_success


def test_the_number_and_the_user_id_of_a_person_share_a_burst(
    meta: RunningSimulator, post: Post
) -> None:
    digits = "447700900123"
    for _ in range(45):
        assert post(f"+{digits}").is_success
    user_id = recipients.person(recipients.GraphRecipient("", digits=digits)).user_id

    assert error(post(None, recipient=user_id))[:2] == (400, 131056)


def test_management_calls_are_counted_by_the_hour(
    meta: RunningSimulator, graph: Callable[..., httpx.Response]
) -> None:
    meta.state.limits.window(meta.world.apps[0].id, meta.state.registry.accounts[meta.waba_id])
    for _ in range(4999):
        meta.state.limits.window(
            meta.world.apps[0].id, meta.state.registry.accounts[meta.waba_id]
        ).take(meta.state.clock.now())
    last = graph("GET", meta.waba_id)
    assert '"call_count":100' in last.headers["x-business-use-case-usage"]
    refused = graph("GET", meta.waba_id)
    assert error(refused)[:2] == (400, 80007)
    assert '"estimated_time_to_regain_access":60' in refused.headers["x-business-use-case-usage"]
    meta.control.advance(3600)
    assert graph("GET", meta.waba_id).is_success


def test_a_portfolio_reaches_so_many_people_a_day(meta: RunningSimulator, post: Post) -> None:
    meta.control.change("accounts", meta.waba_id, messaging_limit="TIER_50")
    meta.control.change("numbers", meta.phone_number_id, messages_per_second=1000)
    numbers = [f"+4477009001{n:02d}" for n in range(51)]
    assert all(post(number).is_success for number in numbers[:50])
    assert error(post(numbers[50]))[1] == 131048
    meta.control.open_window(numbers[50])
    assert post(numbers[50]).is_success


@pytest.mark.parametrize(("level", "rate"), [("STANDARD", 80), ("HIGH", 1000)])
def test_throughput_is_metas(meta: RunningSimulator, level: str, rate: int) -> None:
    number = meta.state.registry.numbers[meta.phone_number_id][1]
    number.throughput = level
    taken = 0
    with pytest.raises(Exception, match="130429"):
        while taken <= rate:
            meta.state.limits.take_message(number, str(taken), 1e9)
            taken += 1
    assert taken == rate
