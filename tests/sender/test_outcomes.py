"""Outcomes: which are logged here, and the one loop that looks for all who wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from uuid import UUID, uuid4

import pytest

from connectors.linked_device import logs
from connectors.sender import outcomes
from connectors.sender.outcomes import DeliveryStatus, OutcomePoller

PHONE = "+27711558396"
QUEUED, SENT = DeliveryStatus("queued"), DeliveryStatus("sent")
Asked = tuple[UUID, UUID]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """What is logged of messages, and how."""
    found: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(logs, "sent", lambda **facts: found.append(("sent", facts)))
    monkeypatch.setattr(logs, "failed", lambda **facts: found.append(("failed", facts)))
    return found


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (DeliveryStatus("sent", transport="CLOUD_API"), ["sent"]),
        (DeliveryStatus("failed", transport="CLOUD_API"), ["failed"]),
        (DeliveryStatus("unknown", transport="CLOUD_API"), ["failed"]),
        (DeliveryStatus("cancelled", transport="CLOUD_API"), ["failed"]),
        # It goes on, and will be asked about again.
        (DeliveryStatus("queued", transport="CLOUD_API"), []),
        # The session's process said so, where it sent the message.
        (DeliveryStatus("sent", transport="LINKED_DEVICE"), []),
        (DeliveryStatus("failed", transport="LINKED_DEVICE"), []),
    ],
)
def test_it_logs_how_a_message_ended_once(
    said: list[tuple[str, dict[str, object]]], status: DeliveryStatus, words: list[str]
) -> None:
    message_id, workspace_id = uuid4(), uuid4()

    outcomes.log(status, message_id=message_id, workspace_id=workspace_id, phone=PHONE)

    assert [word for word, _ in said] == words
    for _, facts in said:
        assert (facts["message_id"], facts["workspace_id"]) == (message_id, workspace_id)
        assert facts["number"] == PHONE[1:]


@pytest.mark.parametrize(
    ("errors", "code", "message"),
    [
        ([], "REJECTED", "WhatsApp refused the message."),
        ([{"code": "x", "title": "Odd"}], "REJECTED", "Odd"),
        ([{"code": 999999, "title": "Odd", "details": "Odd"}], "REJECTED", "Odd (code 999999)"),
        (
            [{"title": "Bad number", "details": "Call +27 82 123 4567"}, {"title": "Later"}],
            "REJECTED",
            "Bad number Call •••",
        ),
        (["no object"], "REJECTED", "WhatsApp refused the message."),
    ],
)
def test_it_words_a_failure_from_what_the_platform_said(
    errors: list[object], code: str, message: str
) -> None:
    failure = outcomes.failure_of(DeliveryStatus("failed", {"errors": errors}), uuid4())

    assert failure is not None
    assert (failure.status, failure.code, failure.message) == (502, code, message)


class Found:
    """What the database says, round after round; an error is raised, the last one stays."""

    def __init__(self, *rounds: Mapping[Asked, DeliveryStatus] | Exception) -> None:
        self.rounds, self.asked = list(rounds), list[set[Asked]]()

    async def __call__(self, keys: Collection[Asked]) -> Mapping[Asked, DeliveryStatus]:
        """Return what this round found."""
        self.asked.append(set(keys))
        now = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
        if isinstance(now, Exception):
            raise now
        return now


def test_it_says_once_that_it_cannot_ask_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    key, away = (uuid4(), uuid4()), OSError("away")
    found = Found(away, away, {}, away, {key: SENT})

    async def run() -> DeliveryStatus:
        return await OutcomePoller(found, pause=0.001).wait(key, QUEUED, seconds=60)

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(run()) == SENT

    lines = [each for each in caplog.records if "cannot ask" in each.message]
    assert [vars(each)["error"] for each in lines] == ["OSError", "OSError"]


def test_two_tenants_who_wait_share_a_round_and_no_answer() -> None:
    message, acme, globex = uuid4(), uuid4(), uuid4()
    mine, theirs = (acme, message), (globex, message)
    found = Found({mine: SENT}, {theirs: DeliveryStatus("failed")})

    async def run() -> list[DeliveryStatus]:
        poller = OutcomePoller(found, pause=0.001)
        waits = (poller.wait(key, QUEUED, seconds=60) for key in (mine, theirs))
        return await asyncio.gather(*waits)

    assert [one.status for one in asyncio.run(run())] == ["sent", "failed"]
    assert found.asked == [{mine, theirs}, {theirs}]


def test_it_does_not_end_a_wait_for_news_that_are_not_the_last() -> None:
    key = (uuid4(), uuid4())
    found = Found({key: DeliveryStatus("sending")}, {key: SENT})

    async def run() -> DeliveryStatus:
        return await OutcomePoller(found, pause=0.001).wait(key, QUEUED, seconds=60)

    assert asyncio.run(run()) == SENT
    assert len(found.asked) == 2


@pytest.mark.parametrize(("known", "seconds"), [(SENT, 60.0), (QUEUED, 0.0)])
def test_it_asks_nothing_where_there_is_nothing_to_wait_for(
    known: DeliveryStatus, seconds: float
) -> None:
    found = Found({})

    async def run() -> DeliveryStatus:
        return await OutcomePoller(found).wait((uuid4(), uuid4()), known, seconds=seconds)

    assert asyncio.run(run()) == known
    assert found.asked == []


def test_an_end_lets_all_go_and_nobody_wait_any_more() -> None:
    found, key = Found({}), (uuid4(), uuid4())

    async def run() -> list[DeliveryStatus]:
        poller = OutcomePoller(found, pause=0.001)
        waiting = asyncio.create_task(poller.wait(key, QUEUED, seconds=60))
        while not found.asked:
            await asyncio.sleep(0)
        poller.end()
        return [await waiting, await poller.wait(key, QUEUED, seconds=60)]

    assert asyncio.run(run()) == [QUEUED, QUEUED]
