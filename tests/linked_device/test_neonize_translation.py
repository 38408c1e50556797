"""What neonize tells, in our words: with its own protobuf classes, without its Go library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.linked_device import neonize_events, neonize_messages, neonize_refusals
from connectors.linked_device.events import (
    Account,
    ClientOutdated,
    ConnectFailed,
    Disconnected,
    KeepAliveMissed,
    KeptAlive,
    LoggedOut,
    MessageArrived,
    Paired,
    PairingTimedOut,
    Replaced,
    Someone,
    TemporarilyBanned,
)
from tests.linked_device.neonize_pb import e2e, jid, message, pb, source
from workspaces.channel_errors import OutcomeUnknown, Rejected, Throttled, Unavailable

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
ANA, LID = "447700900001", "99887766554433"
NODE = {"Tag": "failure", "Attrs": []}


def arrived(content: Any, where: Any = None, **facts: Any) -> MessageArrived:
    """Return what a message of the library is in our words."""
    told = neonize_messages.message(message(content, where or source(jid(ANA)), **facts))
    assert told is not None
    return told


@pytest.mark.parametrize(
    ("told", "event"),
    [
        (pb.Disconnected(status=True), Disconnected()),
        (pb.KeepAliveTimeout(ErrorCount=3, LastSuccess=0), KeepAliveMissed(3)),
        (pb.KeepAliveRestored(), KeptAlive()),
        (pb.StreamReplaced(), Replaced()),
        (pb.LoggedOut(OnConnect=True, Reason=4), LoggedOut("main_device_gone")),
        (pb.TemporaryBan(Code=1, Expire=60), TemporarilyBanned(101, NOW + timedelta(minutes=1))),
        (pb.TemporaryBan(Code=5, Expire=0), TemporarilyBanned(105)),
        (pb.ClientOutdated(), ClientOutdated()),
        (
            pb.ConnectFailure(Reason=10, Message="", Raw=NODE),
            ConnectFailed("service_unavailable"),
        ),
        (pb.ConnectFailure(Reason=6, Message="", Raw=NODE), None),
        (pb.StreamError(Code="515", Raw=NODE), None),
        (
            pb.PairStatus(ID=jid(ANA, device=7), BusinessName="", Platform="android", Status=2),
            Paired(Account(ANA, platform="android")),
        ),
        (
            pb.PairStatus(ID=jid(ANA), BusinessName="", Platform="", Status=1, Error="x"),
            ConnectFailed("the phone could not be linked"),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_tells_of_the_connection(told: Any, event: object) -> None:
    assert neonize_events.connection_event(told, now=NOW) == event


@pytest.mark.parametrize(
    ("word", "event"),
    [
        ("success", None),
        ("timeout", PairingTimedOut()),
        ("err-client-outdated", ClientOutdated()),
        ("passkey-request", ConnectFailed("pairing ended with passkey-request")),
    ],
)
def test_it_tells_how_the_qr_codes_ended(word: str, event: object) -> None:
    assert neonize_events.login_event(word) == event


def test_it_takes_a_text_and_what_it_answers() -> None:
    context = e2e.ContextInfo(stanzaID="3EB0OURS")
    told = arrived(
        e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text="Yes", contextInfo=context))
    )

    assert (told.kind, told.text, told.quoted_id, told.id) == ("text", "Yes", "3EB0OURS", "3EB0AA")
    assert told.sender == told.chat == Someone(ANA, name="Ana")


def test_it_finds_the_phone_behind_a_hidden_id() -> None:
    where = source(jid(LID, "lid", device=3), SenderAlt=jid(ANA))

    assert arrived(e2e.Message(conversation="Hi"), where).chat == Someone(ANA, LID, "Ana")


def test_it_knows_a_person_by_the_hidden_id_alone() -> None:
    told = arrived(e2e.Message(conversation="Hi"), source(jid(LID, "lid")))

    assert told.chat == Someone(None, LID, "Ana")


def test_it_tells_a_group_from_its_members() -> None:
    where = source(jid("12036304", "g.us"), jid(ANA), IsGroup=True)
    told = arrived(e2e.Message(conversation="Hi"), where)

    assert (told.group_id, told.sender.phone) == ("12036304@g.us", ANA)


def test_it_tells_what_the_owner_wrote_on_another_device() -> None:
    where = source(jid(ANA), jid("447700900123"), IsFromMe=True)
    told = arrived(e2e.Message(conversation="Mine"), where)

    assert (told.from_me, told.chat, told.sender.name) == (True, Someone(ANA), None)


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (
            e2e.Message(imageMessage=e2e.ImageMessage(caption="Look", mimetype="image/png")),
            "image",
            "Look",
        ),
        (e2e.Message(audioMessage=e2e.AudioMessage(mimetype="audio/ogg")), "audio", None),
        (e2e.Message(documentMessage=e2e.DocumentMessage()), "document", None),
        (e2e.Message(locationMessage=e2e.LocationMessage()), "location", None),
        (
            e2e.Message(
                ephemeralMessage=e2e.FutureProofMessage(message=e2e.Message(conversation="Soon"))
            ),
            "text",
            "Soon",
        ),
        (e2e.Message(protocolMessage=e2e.ProtocolMessage(type=0)), "unsupported", None),
        (e2e.Message(pollCreationMessage=e2e.PollCreationMessage(name="?")), "unsupported", None),
    ],
)
def test_it_names_kinds_as_the_cloud_api_does(content: Any, kind: str, text: str | None) -> None:
    told = arrived(content)

    assert (told.kind, told.text) == (kind, text)


def test_it_takes_a_reaction() -> None:
    body = e2e.ReactionMessage(text="👍")
    body.key.ID = "3EB0OURS"
    told = arrived(e2e.Message(reactionMessage=body))

    assert (told.kind, told.emoji, told.text, told.quoted_id) == (
        "reaction", "👍", None, "3EB0OURS",
    )  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        message(e2e.Message(conversation="x"), source(jid("status", "broadcast"))),
        message(e2e.Message(conversation="x"), source(jid("1", "newsletter"))),
        message(e2e.Message(conversation="x"), source(jid(ANA)), category="peer"),
        message(e2e.Message(), source(jid(ANA))),
        message(
            e2e.Message(protocolMessage=e2e.ProtocolMessage(type=5)), source(jid(ANA))
        ),
    ],
)  # fmt: skip
def test_it_tells_nothing_that_nobody_wrote(told: Any) -> None:
    assert neonize_messages.message(told) is None


@pytest.mark.parametrize(("kind", "status"), [(1, "delivered"), (4, "read"), (6, "played")])
def test_it_tells_receipts(kind: int, status: str) -> None:
    told = neonize_events.receipt(
        pb.Receipt(MessageSource=source(jid(ANA)), MessageIDs=["A"], Timestamp=1, Type=kind)
    )

    assert told is not None
    assert (told.ids, told.chat.phone, told.status) == (("A",), ANA, status)


@pytest.mark.parametrize(("kind", "mine"), [(3, False), (5, False), (4, True)])
def test_it_keeps_receipts_to_itself_that_are_of_no_person(kind: int, mine: bool) -> None:
    where = source(jid(ANA), IsFromMe=mine)

    assert neonize_events.receipt(
        pb.Receipt(MessageSource=where, MessageIDs=["A"], Timestamp=1, Type=kind)
    ) is None  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "error"),
    [
        ("client is nil", Unavailable),
        ("the store doesn't contain a device JID", Unavailable),
        ("failed to send message node: websocket not connected", Unavailable),
        (
            "failed to get device list: failed to send usync query: info query timed out",
            Unavailable,
        ),
        ("failed to get device list: info query returned status 429: rate-overlimit", Throttled),
        ("server returned error 463", Throttled),
        ("server returned error 429", Throttled),
        ("server returned error 503", Unavailable),
        ("server returned error 400", Rejected),
        ("timed out waiting for message send response", OutcomeUnknown),
        ("websocket disconnected before message send returned response", OutcomeUnknown),
        ("failed to send message node: broken pipe", OutcomeUnknown),
        ("websocket not connected", OutcomeUnknown),
        ("something nobody has seen yet", OutcomeUnknown),
    ],
)
def test_it_sends_again_only_what_certainly_did_not_leave(
    sentence: str, error: type[Exception]
) -> None:
    assert type(neonize_refusals.send_error(sentence)) is error


@pytest.mark.parametrize(
    ("sentence", "error"),
    [
        ("info query returned status 429: rate-overlimit", Throttled),
        ("info query returned status 400: bad-request", Rejected),
        ("info query timed out", Unavailable),
    ],
)
def test_it_tells_why_there_is_no_pairing_code(sentence: str, error: type[Exception]) -> None:
    assert type(neonize_refusals.pairing_error(sentence)) is error
