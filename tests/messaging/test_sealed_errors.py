"""What the platform says of a failure comes back as it was said, until Raw is purged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from messaging.models import Message, MessageStatus
from messaging.sealed_values import NEEDS_RAW_READ, PURGED
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.messaging.test_receipts import AT, echo, receive
from tests.messaging.test_sealed_values import by_rest, purge
from tests.privacy import places
from tests.whatsapp.deliveries import status
from workspaces.access import Scope

__all__ = ("gql",)

pytestmark = pytest.mark.django_db

PHONE = "15550123456"
READ = """query($id: ID!) { message(id: $id) { status statuses { status errors }
    delivery { errors pastErrors } } }"""
ERROR = {
    "code": 131026,
    "title": "Message undeliverable",
    "message": "[sealed:0]",
    "details": f"Message to +1 (555) 012-3456 undeliverable, see order 194836987003835 ({PHONE})",
}


def wire(error: dict[str, Any] = ERROR) -> dict[str, Any]:
    """Return an error as Meta writes it."""
    told = {key: value for key, value in error.items() if key != "details"}
    return {**told, "error_data": {"details": error["details"]}}


def read(gql: Gql, caller: Cast | str, message: Message) -> dict[str, Any]:
    return gql(caller, READ, id=str(message.id)).data["message"]


@pytest.mark.parametrize("first", ["the message", "the receipt"])
def test_an_error_comes_back_as_it_was_said(acme: Cast, globex: Cast, gql: Gql, first: str) -> None:
    if first == "the message":
        echo(acme)
    receive(acme, status("wamid.E", "failed", errors=[wire()]))
    message = echo(acme)
    reader = key_with(acme.tenant, Scope.MESSAGES_READ, Scope.RAW_READ)

    found = read(gql, reader, message)

    assert found["statuses"] == [{"status": "failed", "errors": [ERROR]}]
    assert found["delivery"] == {"errors": [ERROR], "pastErrors": None}
    assert json.loads(by_rest(reader, message))["delivery"]["errors"] == [ERROR]
    assert read(gql, globex, message) is None
    for _, row in places.rows():
        assert not places.found_in(row, places.disguises(PHONE[-8:]))


def test_a_sentence_that_holds_a_number_needs_the_scope_that_shows_numbers(
    acme: Cast, globex: Cast, gql: Gql
) -> None:
    receive(acme, status("wamid.E", "failed", errors=[wire()]))
    message = echo(acme)
    app = key_with(acme.tenant, Scope.MESSAGES_READ, Scope.MESSAGES_SEND)

    found, told = read(gql, app, message), json.loads(by_rest(app, message))

    hidden = {**ERROR, "message": NEEDS_RAW_READ, "details": NEEDS_RAW_READ}
    assert found["statuses"][0]["errors"] == found["delivery"]["errors"] == [hidden]
    assert told["delivery"]["errors"] == [hidden]
    assert read(gql, globex, message) is None


def test_an_error_that_gives_no_number_away_is_stored_as_it_came(acme: Cast, gql: Gql) -> None:
    error = {**ERROR, "message": "Rate (#130429) at 1790000000123", "details": "Order 12345678901"}
    receive(acme, status("wamid.E", "failed", errors=[wire(error)]))
    message = echo(acme)
    purge(acme)
    assert read(gql, acme, message)["statuses"][0]["errors"] == [error]
    receipt = MessageStatus.objects.get()
    assert (receipt.errors, receipt.sealed_values) == ([error], None)
    assert message.delivery["errors"] == [error]


def test_it_says_that_an_error_was_purged(acme: Cast, gql: Gql) -> None:
    receive(acme, status("wamid.E", "failed", errors=[wire()]))
    message = echo(acme)

    purge(acme)

    purged = {**ERROR, "message": PURGED, "details": PURGED}
    found = read(gql, acme, message)
    assert found["statuses"][0]["errors"] == found["delivery"]["errors"] == [purged]


def test_any_long_number_is_sealed_where_nobody_knows_whose_receipt_it_is(
    acme: Cast, gql: Gql
) -> None:
    receipt = {**status("wamid.E", "failed", errors=[wire()]), "recipient_user_id": "US.123"}
    del receipt["recipient_id"]
    receive(acme, receipt)
    assert PHONE not in str(MessageStatus.objects.values_list("errors"))
    assert read(gql, acme, echo(acme))["statuses"][0]["errors"] == [ERROR]


def test_errors_of_a_message_that_arrived_are_history_in_full(acme: Cast, gql: Gql) -> None:
    receive(acme, status("wamid.E", "failed", AT, errors=[wire()], biz_opaque_callback_data=PHONE))
    receive(acme, status("wamid.E", "read", AT + 1, errors=[wire({**ERROR, "message": "Late"})]))
    message = echo(acme)
    Message.objects.update(status="read")
    found = read(gql, acme, message)
    assert found["delivery"] == {"errors": None, "pastErrors": [ERROR]}
    assert [one["errors"][0]["message"] for one in found["statuses"]] == ["[sealed:0]", "Late"]


MEMBER = {"recipient_participant_id": "15550199887"}


@pytest.mark.parametrize("is_there", [True, False], ids=["the message first", "receipts first"])
@pytest.mark.parametrize(
    ("word", "who", "after"),
    [("sent", {}, -1), ("failed", MEMBER, -1), ("delivered", MEMBER, 1), ("read", {}, 1)],
)
def test_a_message_repeats_the_sentence_of_the_receipt_that_told_it(
    acme: Cast, gql: Gql, word: str, who: dict[str, str], after: int, is_there: bool
) -> None:
    mine, others = ({**ERROR, "details": f"{n} to +{PHONE}"} for n in ("Mine", "Another"))
    if is_there:
        echo(acme)
    receive(acme, status("wamid.E", "failed", AT, errors=[wire(mine)]))
    receive(acme, {**status("wamid.E", word, AT + after, errors=[wire(others)]), **who})
    message = echo(acme)

    found = read(gql, acme, message)

    # Of receipts that waited for their message the oldest tells, but for a participant's failure.
    told = others if word == "sent" and not is_there else mine
    assert found["delivery"]["errors"] == [told]
    reader = key_with(acme.tenant, Scope.MESSAGES_READ)
    assert json.loads(by_rest(reader, message))["delivery"].keys() <= {
        "errors",
        f"{word}_at",
        "failed_at",
    }
    shown = {one["errors"][0]["details"] for one in found["statuses"]}
    assert shown == {mine["details"], others["details"]}


def test_a_sentence_of_before_is_shown_where_one_receipt_only_may_have_told_it(
    acme: Cast, gql: Gql
) -> None:
    receive(acme, status("wamid.E", "failed", AT, errors=[wire()]))
    message = echo(acme)
    message.delivery.pop("errors_sealed_in")  # as messages were stored that were told before
    message.save()
    assert read(gql, acme, message)["delivery"]["errors"] == [ERROR]

    receive(acme, {**status("wamid.E", "failed", errors=[wire()]), **MEMBER})

    purged = {**ERROR, "message": PURGED, "details": PURGED}
    assert read(gql, acme, message)["delivery"]["errors"] == [purged]
