"""Imported history gives way to what was seen live, and a placeholder of it to its file."""

from __future__ import annotations

from itertools import permutations

import pytest

from connectors.events.models import OutgoingEvent
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.raw import read_originals
from messaging.models import Conversation, Media, MediaState, Message
from messaging.optouts import opted_out
from tests.conftest import Cast
from tests.events.test_outbox import subscribe
from tests.messaging.test_two_ids import AT, BSUID, PHONE, named, receive
from tests.messaging.test_wamids import USER, wamid
from tests.whatsapp.deliveries import callback, deliver, text

pytestmark = pytest.mark.django_db

WAMID, SAME = wamid(PHONE, "3EB0AB"), wamid(BSUID, "3EB0AB", kind=USER)
FILE = {"id": "777", "mime_type": "image/png", "sha256": "x", "caption": "Old photo"}


def imported(cast: Cast, *messages: dict) -> None:
    """Import a chat."""
    thread = {"id": PHONE, "context": {"wa_id": PHONE, "user_id": BSUID}, "messages": messages}
    receive(cast, field="history", history=[{"metadata": {"phase": 0}, "threads": [thread]}])


def said(body: str = "stop", name: str = WAMID, **more: object) -> dict:
    return {**text(name, body, PHONE), "from_user_id": BSUID, **more}


def written(name: str = WAMID, **more: object) -> dict:
    """Return what the business wrote on its phone."""
    return {**text(name, "I will call", "15550100001"), "to": PHONE, "to_user_id": BSUID, **more}


def told(cast: Cast) -> list[str]:
    rows = OutgoingEvent.objects.filter(tenant_id=cast.tenant.id).order_by("id")
    return list(rows.values_list("type", flat=True))


@pytest.mark.parametrize("name", [WAMID, SAME], ids=["by the same id", "by the other id"])
@pytest.mark.parametrize("is_first", [True, False], ids=["history first", "live first"])
def test_it_gives_way_to_the_live_message(
    acme: Cast, globex: Cast, is_first: bool, name: str
) -> None:
    subscribe(acme, "message.received")
    subscribe(globex, "message.received")
    imported(globex, said())
    steps = [lambda: imported(acme, said()), lambda: receive(acme, said(name=name))]
    for step in steps if is_first else reversed(steps):
        step()

    message = Message.objects.get(tenant_id=acme.tenant.id)
    assert (message.source, message.text) == ("LIVE", "stop")
    assert Conversation.objects.get(tenant_id=acme.tenant.id).unread_count == 1
    assert (told(acme), told(globex)) == (["message.received"], [])
    who = [message.contact_id]
    assert opted_out(tenant_id=acme.tenant.id, contact_ids=who) == set(who)


@pytest.mark.parametrize("is_first", [True, False], ids=["history first", "echo first"])
def test_it_gives_way_to_an_echo(acme: Cast, is_first: bool) -> None:
    steps = [
        lambda: imported(acme, written(history_context={"status": "READ"})),
        lambda: receive(acme, field="smb_message_echoes", message_echoes=[written()]),
    ]
    for step in steps if is_first else reversed(steps):
        step()

    message = Message.objects.get()
    assert (message.source, message.direction) == ("ECHO", "OUTBOUND")


def test_it_shows_what_the_live_message_said(acme: Cast) -> None:
    imported(acme, said("Only a part"))
    before = Message.objects.get()
    receive(acme, said("All of it", SAME, context={"forwarded": True}))

    after = Message.objects.get()
    assert (after.id, after.text, after.content) == (before.id, "All of it", {"forwarded": True})
    original = read_originals(acme.tenant.id, [after.id])[after.id]
    assert (original.wamid, original.body["text"]) == (SAME, {"body": "All of it"})


def test_it_is_news_once(acme: Cast) -> None:
    subscribe(acme, "message.received")
    imported(acme, said())
    for _ in range(3):
        receive(acme, said())
        imported(acme, said())

    assert told(acme) == ["message.received"]
    assert Conversation.objects.get().unread_count == 1


def test_a_deleted_message_stays_deleted(acme: Cast) -> None:
    imported(acme, said(type="image", image=FILE))
    receive(acme, said(name="wamid.R", type="revoke", revoke={"original_message_id": WAMID}))
    receive(acme, said(type="image", image=FILE))

    message = named(acme, WAMID)
    assert (message.text, message.content, message.source) == (None, {}, "LIVE")
    assert Media.objects.get().state == MediaState.GONE


def test_an_edited_message_stays_edited(acme: Cast) -> None:
    inner = {"type": "text", "text": {"body": "No, start"}}
    imported(acme, said())
    change = {"original_message_id": WAMID, "message": inner}
    receive(acme, said(name="wamid.E", timestamp=str(AT + 9), type="edit", edit=change))
    receive(acme, said())

    message = named(acme, WAMID)
    assert (message.text, message.edited_at is not None) == ("No, start", True)


PARTS = {
    "placeholder": lambda cast, name: imported(cast, said(name=name, type="media_placeholder")),
    "file": lambda cast, name: receive(
        cast, said(name=name, type="image", image=FILE), field="history"
    ),
    "live": lambda cast, name: receive(cast, said(name=name, type="image", image=FILE)),
}


@pytest.mark.parametrize("order", list(permutations(PARTS)) + list(permutations(PARTS, 2)))
@pytest.mark.parametrize("other", [WAMID, SAME], ids=["by the same id", "by the other id"])
def test_a_placeholder_is_completed_by_its_file(
    acme: Cast, order: tuple[str, ...], other: str
) -> None:
    for number, part in enumerate(order):
        PARTS[part](acme, other if number else WAMID)

    message, media = Message.objects.get(), Media.objects.get()
    assert (message.type, message.text) == ("image", "Old photo")
    assert (media.message_id, media.platform_media_id) == (message.id, "777")
    assert message.source == ("LIVE" if "live" in order else "HISTORY")
    assert Conversation.objects.get().unread_count == ("live" in order)


def test_a_placeholder_of_the_business_is_completed(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        imported(cast, written(type="media_placeholder"))
    receive(acme, field="history", message_echoes=[written(type="image", image=FILE)])

    assert Media.objects.get().tenant_id == acme.tenant.id
    assert named(acme, WAMID).type == "image"
    assert named(globex, WAMID).type == "media_placeholder"


def test_a_placeholder_and_its_file_may_come_in_one_batch(acme: Cast) -> None:
    number = acme.workspace.external_id
    thread = {"id": PHONE, "messages": [said(type="media_placeholder")]}
    chunk = {"metadata": {"phase": 0}, "threads": [thread]}
    deliver(acme.tenant.id, callback(number, field="history", history=[chunk]))
    file = said(type="image", image=FILE)
    deliver(acme.tenant.id, callback(number, field="history", messages=[file]))
    process_batch(10)

    assert Message.objects.get().type == "image"
    assert Media.objects.count() == 1
