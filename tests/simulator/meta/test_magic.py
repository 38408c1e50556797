from __future__ import annotations

from collections.abc import Callable
from random import Random

import httpx
import pytest

from connectors.simulator import people
from connectors.simulator.meta.plans import MAGIC, FaultRule, FaultRules, Plan, Preset, magic_of
from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import Post, Receiver, error

Wait = Callable[..., None]
STEM = "+1555000"


def test_an_ordinary_recipient_reads(heard: Receiver, post: Post, wait_for: Wait) -> None:
    assert post("+1234567890", biz_opaque_callback_data="mine").is_success
    wait_for(lambda: heard.steps() == ["sent", "delivered", "read"])
    assert {item["biz_opaque_callback_data"] for item in heard.items()} == {"mine"}
    assert {item["recipient_id"] for item in heard.items()} == {"1234567890"}
    sent, delivered, read = heard.items()
    assert sent["pricing"] == delivered["pricing"]
    assert sent["pricing"]["category"] == sent["conversation"]["origin"]["type"] == "marketing"
    assert "pricing" not in read


@pytest.mark.parametrize("code", [131026, 130429, 80007, 131049])
def test_it_refuses_with_the_code_of_the_number(post: Post, code: int) -> None:
    assert error(post(f"+1555{code:07d}"))[1] == code


@pytest.mark.parametrize("code", [131049, 131050, 131047])
def test_it_fails_later_with_the_code_of_the_number(
    heard: Receiver, post: Post, wait_for: Wait, code: int
) -> None:
    assert post(f"+15551{code}").is_success
    wait_for(lambda: heard.steps() == ["failed"])
    assert heard.items()[0]["errors"][0]["code"] == code
    assert "contacts" not in heard.documents[0]["entry"][0]["changes"][0]["value"]


def test_accepted_and_never_answered(
    meta: RunningSimulator, heard: Receiver, post: Post, http: httpx.Client, wait_for: Wait
) -> None:
    http.timeout = 0.2
    with pytest.raises(httpx.ReadTimeout):
        post(f"{STEM}9999", biz_opaque_callback_data="lost")
    http.timeout = 10
    wait_for(lambda: heard.steps() == ["sent", "delivered", "read"])
    (entry,) = meta.control.processed("lost")
    assert (entry["outcome"], entry["answer"]) == ("accepted", "hung")
    assert heard.items()[0]["id"] == entry["wamid"]


@pytest.mark.parametrize(("suffix", "is_processed"), [("9998", False), ("9995", True)])
def test_the_connection_is_closed(
    meta: RunningSimulator, post: Post, suffix: str, is_processed: bool
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        post(STEM + suffix)
    (entry,) = meta.control.journal()
    assert (entry["is_processed"], entry["answer"]) == (is_processed, "closed")


@pytest.mark.parametrize(
    ("suffix", "status", "is_processed"), [("9997", 500, False), ("9990", 502, True)]
)
def test_it_answers_without_json(
    meta: RunningSimulator, post: Post, suffix: str, status: int, is_processed: bool
) -> None:
    answer = post(STEM + suffix)
    assert answer.status_code == status
    assert not answer.headers["content-type"].startswith("application/json")
    assert meta.control.journal()[0]["is_processed"] is is_processed


@pytest.mark.parametrize(
    ("suffix", "steps"),
    [
        ("9996", ["sent", "delivered", "read"]),
        ("9994", ["sent", "delivered"]),
        ("9993", ["sent"]),
        ("9992", []),
        ("9989", ["failed"]),
    ],
)
def test_a_message_gets_as_far_as_its_number_says(
    meta: RunningSimulator,
    heard: Receiver,
    post: Post,
    wait_for: Wait,
    suffix: str,
    steps: list[str],
) -> None:
    state = post(STEM + suffix).json()["messages"][0]["message_status"]
    assert (state == "held_for_quality_assessment") is (suffix in ("9996", "9989"))
    meta.control.advance(5)
    wait_for(lambda: sorted(heard.steps()) == sorted(steps))
    assert meta.control.state()["scheduled"] == 0


def test_every_magic_number_is_one() -> None:
    assert [magic_of(f"1555000{magic.suffix}") for magic in MAGIC] == [
        Plan(magic.preset) for magic in MAGIC
    ]
    assert magic_of("447700900123") == magic_of("1234567890") == Plan()
    assert magic_of("15550999999") == Plan(Preset.HANG)


def test_numbers_that_are_made_up_by_counting_are_ordinary() -> None:
    counted = [f"2771{number:07d}" for number in range(9_989)]
    counted += [f"27710{number:06d}" for number in (1, 4, 100, 190, 368)]
    chance = Random(9)
    made_up = [people.phone(chance) for _ in range(1_000)]

    assert {magic_of(digits).preset for digits in counted + made_up} == {Plan().preset}
    assert magic_of("27710080007").code == 80007


def test_magic_can_be_turned_off(meta: RunningSimulator, post: Post) -> None:
    meta.control.options(obeys_magic_numbers=False)
    assert post("+15550131026").is_success


def test_rules_hit_the_next_requests_that_fit(meta: RunningSimulator, post: Post) -> None:
    meta.control.rule("error", code=131016, recipient="+447700900123", count=2)
    codes = [post().status_code for _ in range(3)]
    assert (post("+447700900124").status_code, codes) == (200, [500, 500, 200])


def test_rules_hit_every_so_manieth() -> None:
    rules = FaultRules()
    rules.add(FaultRule(preset=Preset.SILENT, every=3, template="a"))
    plans = [rules.plan("messages", template="a").preset for _ in range(6)]
    assert [preset is Preset.SILENT for preset in plans] == [False, False, True] * 2
    assert rules.plan("messages", template="b") == Plan()


def test_rules_reach_the_management_api(
    meta: RunningSimulator, graph: Callable[..., httpx.Response]
) -> None:
    meta.control.rule("error", code=80007, edge="message_templates")
    assert error(graph("GET", f"{meta.waba_id}/message_templates"))[:2] == (400, 80007)
    meta.control.lift_rules()
    assert graph("GET", f"{meta.waba_id}/message_templates").is_success
