"""Blocked people: who can be, what it does, and what Meta answers to a part."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import PERSON, Post, Receiver, error

STRANGER = "+447700900124"
Graph = Callable[..., httpx.Response]
Block = Callable[..., httpx.Response]


@pytest.fixture
def block(meta: RunningSimulator, graph: Graph) -> Block:
    """Block people; ``method`` DELETE unblocks them."""

    def ask(*people: str, method: str = "POST") -> httpx.Response:
        users = [{"user_id" if "." in who else "user": who} for who in people]
        body = {"messaging_product": "whatsapp", "block_users": users}
        return graph(method, f"{meta.phone_number_id}/block_users", json=body)

    return ask


def test_who_is_blocked_neither_writes_nor_is_written_to(
    meta: RunningSimulator, heard: Receiver, post: Post, block: Block, wait_for: Callable[..., None]
) -> None:
    meta.control.inbound(PERSON, "Hi")
    assert block(PERSON).json()["block_users"]["added_users"][0]["wa_id"] == PERSON[1:]

    meta.control.inbound(PERSON, "Are you there?")
    assert error(post())[1] == 130403
    block(PERSON, method="DELETE")
    meta.control.inbound(PERSON, "Hello again")

    wait_for(lambda: len(heard.items("messages")) >= 2)
    texts = [message["text"]["body"] for message in heard.items("messages")]
    assert texts == ["Hi", "Hello again"]
    assert post().is_success


def test_only_who_wrote_lately_can_be_blocked_and_a_part_is_said_to_be_one(
    meta: RunningSimulator, block: Block, graph: Graph
) -> None:
    meta.control.inbound(PERSON, "Hi")

    answered = block(PERSON, STRANGER)

    status, code, _ = error(answered)
    users = answered.json()["block_users"]
    assert (status, code) == (400, 139100)
    assert [user["wa_id"] for user in users["added_users"]] == [PERSON[1:]]
    assert users["failed_users"][0]["errors"][0]["code"] == 131047
    listed = graph("GET", f"{meta.phone_number_id}/block_users").json()["data"]
    assert [user["wa_id"] for user in listed] == [PERSON[1:]]


def test_a_number_does_not_block_itself(meta: RunningSimulator, block: Block) -> None:
    own = meta.world.accounts[0].numbers[0].digits
    failed = block(f"+{own}").json()["block_users"]["failed_users"]
    assert failed[0]["errors"][0]["code"] == 131021


def test_a_parent_user_id_cannot_be_blocked(block: Block) -> None:
    assert error(block("ZZ.ENT.1000200030004000"))[1] == 100
