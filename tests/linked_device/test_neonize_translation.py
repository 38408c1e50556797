"""neonize's events as ours: with its own protobuf classes, without its Go library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.linked_device import neonize_translation
from connectors.linked_device.events import (
    ChatMember,
    ClientOutdated,
    ConnectFailed,
    Disconnected,
    KeepAliveMissed,
    KeptAlive,
    LinkedAccount,
    LoggedOut,
    MessageArrived,
    Paired,
    PairingTimedOut,
    Replaced,
    TemporarilyBanned,
)
from tests.linked_device.neonize_pb import e2e, jid, message, pb, source
from workspaces.channel_errors import OutcomeUnknown, Rejected, Throttled, Unavailable

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
ANA, LID = "447700900001", "99887766554433"
NODE = {"Tag": "failure", "Attrs": []}


def arrived(content: Any, where: Any = None, **facts: Any) -> MessageArrived:
    """Return what a message of the library is in our words."""
    found = neonize_translation.message(message(content, where or source(jid(ANA)), **facts))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("theirs", "event"),
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
            Paired(LinkedAccount(ANA, platform="android")),
        ),
        (
            pb.PairStatus(ID=jid(ANA), BusinessName="", Platform="", Status=1, Error="x"),
            ConnectFailed("the phone could not be linked"),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_reports_the_connection(theirs: Any, event: object) -> None:
    assert neonize_translation.connection_event(theirs, now=NOW) == event


@pytest.mark.parametrize(
    ("word", "event"),
    [
        ("success", None),
        ("timeout", PairingTimedOut()),
        ("err-client-outdated", ClientOutdated()),
        ("passkey-request", ConnectFailed("pairing ended with passkey-request")),
    ],
)
def test_it_reports_how_the_qr_codes_ended(word: str, event: object) -> None:
    assert neonize_translation.login_event(word) == event


def test_it_takes_a_text_and_what_it_answers() -> None:
    context = e2e.ContextInfo(stanzaID="3EB0OURS")
    found = arrived(
        e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text="Yes", contextInfo=context))
    )

    assert (found.kind, found.text, found.quoted_id, found.id) == (
        "text",
        "Yes",
        "3EB0OURS",
        "3EB0AA",
    )
    assert found.sender == found.chat == ChatMember(ANA, name="Ana")


def test_it_finds_the_phone_behind_a_hidden_id() -> None:
    where = source(jid(LID, "lid", device=3), SenderAlt=jid(ANA))

    assert arrived(e2e.Message(conversation="Hi"), where).chat == ChatMember(ANA, LID, "Ana")


def test_it_knows_a_person_by_the_hidden_id_alone() -> None:
    found = arrived(e2e.Message(conversation="Hi"), source(jid(LID, "lid")))

    assert found.chat == ChatMember(None, LID, "Ana")


def test_it_tells_a_group_from_its_members() -> None:
    where = source(jid("12036304", "g.us"), jid(ANA), IsGroup=True)
    found = arrived(e2e.Message(conversation="Hi"), where)

    assert (found.group_id, found.sender.phone) == ("12036304@g.us", ANA)


def test_it_tells_what_the_owner_wrote_on_another_device() -> None:
    where = source(jid(ANA), jid("447700900123"), IsFromMe=True)
    found = arrived(e2e.Message(conversation="Mine"), where)

    assert (found.from_me, found.chat, found.sender.name) == (True, ChatMember(ANA), None)


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
    found = arrived(content)

    assert (found.kind, found.text) == (kind, text)


def test_it_takes_a_reaction() -> None:
    body = e2e.ReactionMessage(text="👍")
    body.key.ID = "3EB0OURS"
    found = arrived(e2e.Message(reactionMessage=body))

    assert (found.kind, found.emoji, found.text, found.quoted_id) == (
        "reaction",
        "👍",
        None,
        "3EB0OURS",
    )


@pytest.mark.parametrize(
    "theirs",
    [
        message(e2e.Message(conversation="x"), source(jid("status", "broadcast"))),
        message(e2e.Message(conversation="x"), source(jid("1", "newsletter"))),
        message(e2e.Message(conversation="x"), source(jid(ANA)), category="peer"),
        message(e2e.Message(), source(jid(ANA))),
        message(e2e.Message(protocolMessage=e2e.ProtocolMessage(type=5)), source(jid(ANA))),
    ],
)
def test_it_reports_nothing_that_no_person_wrote(theirs: Any) -> None:
    assert neonize_translation.message(theirs) is None


@pytest.mark.parametrize(("kind", "status"), [(1, "delivered"), (4, "read"), (6, "played")])
def test_it_reports_receipts(kind: int, status: str) -> None:
    found = neonize_translation.receipt(
        pb.Receipt(MessageSource=source(jid(ANA)), MessageIDs=["A"], Timestamp=1, Type=kind)
    )

    assert found is not None
    assert (found.ids, found.chat.phone, found.status) == (("A",), ANA, status)


@pytest.mark.parametrize(("kind", "mine"), [(3, False), (5, False), (4, True)])
def test_it_keeps_receipts_to_itself_that_are_of_no_person(kind: int, mine: bool) -> None:
    where = source(jid(ANA), IsFromMe=mine)

    assert (
        neonize_translation.receipt(
            pb.Receipt(MessageSource=where, MessageIDs=["A"], Timestamp=1, Type=kind)
        )
        is None
    )


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
    assert type(neonize_translation.send_error(sentence)) is error


@pytest.mark.parametrize(
    ("sentence", "error"),
    [
        ("info query returned status 429: rate-overlimit", Throttled),
        ("info query returned status 400: bad-request", Rejected),
        ("info query timed out", Unavailable),
    ],
)
def test_it_reports_why_there_is_no_pairing_code(sentence: str, error: type[Exception]) -> None:
    assert type(neonize_translation.pairing_error(sentence)) is error
