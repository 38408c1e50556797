"""Edits and revocations: by their sender only, under whichever of his identities."""

from __future__ import annotations

import pytest

from connectors.whatsapp.processing import process_batch
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, text

pytestmark = pytest.mark.django_db

PHONE, BSUID, OTHER_BSUID = "15550123456", "US.13491208655302741918", "US.999"
AT = 1_790_000_010


def receive(cast: Cast, *messages: dict, **value: object) -> None:
    number = cast.workspace.external_id
    deliver(cast.tenant.id, callback(number, messages=list(messages), **value))
    process_batch(10)


def said(cast: Cast) -> None:
    """Receive a text by phone and BSUID."""
    message = {**text("wamid.A", "Two", PHONE), "from_user_id": BSUID}
    receive(cast, message, contacts=[contact(PHONE)])


def edit(wamid: str, words: str, at: int = AT, **who: str) -> dict:
    inner = {"type": "text", "text": {"body": words}}
    change = {"original_message_id": "wamid.A", "message": inner}
    return {**who, "id": wamid, "timestamp": str(at), "type": "edit", "edit": change}


def revoke(**who: str) -> dict:
    what = {"original_message_id": "wamid.A"}
    return {**who, "id": "wamid.X", "timestamp": str(AT), "type": "revoke", "revoke": what}


def original(cast: Cast) -> Message:
    return Message.objects.get(tenant_id=cast.tenant.id, type="text")


def test_it_revokes_where_only_the_bsuid_is_told(acme: Cast, globex: Cast) -> None:
    said(acme)
    said(globex)

    receive(acme, revoke(from_user_id=BSUID))

    assert original(acme).revoked_at is not None
    assert original(acme).text is None
    assert original(globex).text == "Two"


def test_it_edits_where_only_the_bsuid_is_told(acme: Cast) -> None:
    receive(acme, edit("wamid.E", "Three", from_user_id=BSUID))
    said(acme)  # comes after its edit
    assert original(acme).text == "Three"

    receive(acme, edit("wamid.F", "Four", AT + 1, from_user_id=BSUID))
    assert original(acme).text == "Four"


@pytest.mark.parametrize("who", [{"from": "15550999999"}, {"from_user_id": OTHER_BSUID}, {}])
def test_it_lets_nobody_else_amend(acme: Cast, who: dict[str, str]) -> None:
    said(acme)

    receive(acme, edit("wamid.E", "Forged", **who))
    receive(acme, revoke(**who))

    assert (original(acme).text, original(acme).revoked_at) == ("Two", None)


def test_it_is_not_misled_by_a_later_edit_of_somebody_else(acme: Cast) -> None:
    said(acme)

    edits = edit("wamid.E", "Three", **{"from": PHONE}), edit("wamid.F", "No", AT + 5)
    receive(acme, *edits)

    assert original(acme).text == "Three"


def test_it_does_not_take_the_business_for_its_customer(acme: Cast) -> None:
    said(acme)
    echo = {**revoke(**{"from": "15550100001"}), "to": PHONE, "to_user_id": BSUID}
    number = acme.workspace.external_id

    body = callback(number, field="smb_message_echoes", message_echoes=[echo])
    deliver(acme.tenant.id, body)
    process_batch(10)

    assert original(acme).revoked_at is None


def test_it_shows_the_last_of_two_edits_of_one_second(acme: Cast) -> None:
    said(acme)

    receive(acme, edit("wamid.Z", "Three", **{"from": PHONE}))
    receive(acme, edit("wamid.B", "Four", **{"from": PHONE}))
    assert original(acme).text == "Four"

    receive(acme, edit("wamid.Z", "Three", **{"from": PHONE}))  # Meta repeats itself
    assert original(acme).text == "Four"
