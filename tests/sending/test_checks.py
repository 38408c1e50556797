"""What is checked before a message is queued: people, windows, templates, limits, targets."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lib.ids import uuid7
from messaging import numbers, optouts
from messaging.models import (
    Contact,
    ContactIdentity,
    Message,
    NumberState,
    OptOutSource,
    PortfolioRecipient,
)
from messaging.sending.preflight import preflight
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import ReactionContent, TemplateContent, TextContent
from templates_wa.parameters import ButtonValue, CardValue, TemplateParameters
from tests.conftest import Cast
from tests.sending.conftest import PHONE, hear, request_to, template, wire_of
from tests.sending.test_queueing import WELCOME, refused, send
from workspaces import keys, provisioning
from workspaces.acting import as_tenant
from workspaces.identity import digester

pytestmark = pytest.mark.django_db

CODE = {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE"}]}


def codes(refusal: UnableToSend) -> list[str]:
    return [reason.code.value for reason in refusal.reasons]


def number(cast: Cast, **columns: object) -> NumberState:
    """Store what Meta said of the cast's number."""
    return NumberState.objects.create(
        workspace=cast.workspace,
        tenant_id=cast.tenant.id,
        **{"portfolio_id": "777", "status": "CONNECTED", **columns},
    )


@pytest.mark.parametrize(
    ("written", "dialled"),
    [
        ("551187654321", "+55 11 98765-4321"),
        ("5215512345678", "+52 55 1234 5678"),
        ("541123456789", "+54 9 11 2345-6789"),
    ],
)
def test_it_finds_whoever_wrote_under_the_other_spelling(
    acme: Cast, now: datetime, written: str, dialled: str
) -> None:
    known = hear(acme, now, phone=written)

    queued = send(acme, now, TextContent("Hi"), phone=dialled)

    assert Message.objects.get(pk=queued.message_id).contact_id == known.contact_id
    assert hear(acme, now, phone=written, wamid="wamid.2").contact_id == known.contact_id
    kinds = ContactIdentity.objects.filter(contact_id=known.contact_id).values_list("kind", flat=1)
    assert sorted(kinds) == ["ALIAS", "PHONE"]
    assert Contact.objects.count() == 1


def test_it_writes_to_a_user_id(acme: Cast, now: datetime) -> None:
    template(acme)
    queued = send(acme, now, WELCOME, user_id="US.13491208655302741918")

    wire = wire_of(queued.message_id)
    assert (wire["recipient"], "to" in wire) == ("US.13491208655302741918", False)
    digest = digester(acme.tenant.id).user("US.13491208655302741918")
    contact_id = Message.objects.get(pk=queued.message_id).contact_id
    assert ContactIdentity.objects.get(digest=digest).contact_id == contact_id
    assert codes(refused_user(acme, now, "us.1")) == ["INVALID_USER_ID"]


def refused_user(cast: Cast, now: datetime, user_id: str) -> UnableToSend:
    with pytest.raises(UnableToSend) as info:
        send(cast, now, WELCOME, user_id=user_id)
    return info.value


def test_its_window_is_24_hours_to_the_second(acme: Cast, heard: Message) -> None:
    end = heard.timestamp_utc + timedelta(hours=24)

    for now, until in ((end - timedelta(seconds=1), end), (end, None)):
        with as_tenant(acme.tenant.id):
            asked = {"tenant_id": acme.tenant.id, "request": request_to(acme), "now": now}
            assert preflight(**asked).window_open_until == until
    assert codes(refused(acme, end)) == ["WINDOW_CLOSED"]
    later = end - timedelta(hours=2)
    assert codes(refused(acme, later, scheduled_at=end + timedelta(hours=1))) == ["WINDOW_CLOSED"]
    assert send(acme, later, scheduled_at=end - timedelta(hours=1)).status == "queued"


def test_another_number_has_a_window_of_its_own(acme: Cast, globex: Cast, now: datetime) -> None:
    hear(globex, now)

    assert codes(refused(acme, now)) == ["WINDOW_CLOSED"]


def test_it_schedules_and_expires(acme: Cast, now: datetime) -> None:
    template(acme)
    at, end = now + timedelta(days=2), now + timedelta(days=3)
    row = Message.objects.get(
        pk=send(acme, now, WELCOME, scheduled_at=at, expires_at=end).message_id
    )

    assert (row.pending.due_at, row.pending.expires_at) == (at, end)
    assert row.delivery["scheduled_at"] == at.isoformat()
    for wrong in (
        {"scheduled_at": now - timedelta(hours=1)},
        {"scheduled_at": now + timedelta(days=31)},
        {"scheduled_at": at, "expires_at": at},
        {"scheduled_at": at.replace(tzinfo=None)},
        {"expires_at": now + timedelta(days=31)},
    ):
        with pytest.raises(UnableToSend) as info:
            send(acme, now, WELCOME, **wrong)
        assert codes(info.value) == ["INVALID_INPUT"]


def test_it_spares_who_wants_no_marketing(acme: Cast, heard: Message, now: datetime) -> None:
    template(acme)
    template(acme, "order_update", category="UTILITY")
    optouts.opt_out(
        tenant_id=acme.tenant.id, contact_ids=[heard.contact_id], source=OptOutSource.API
    )

    refusal = refused(acme, now, WELCOME)

    assert (codes(refusal), refusal.platform_code) == (["OPTED_OUT"], 131050)
    useful = TemplateContent("order_update", None, WELCOME.parameters)
    assert send(acme, now, useful).status == "queued"
    assert send(acme, now).status == "queued"


@pytest.mark.parametrize(
    ("status", "code", "platform_code"),
    [
        ("PAUSED", "TEMPLATE_PAUSED", 132015),
        ("DISABLED", "TEMPLATE_DISABLED", 132016),
        ("PENDING", "TEMPLATE_NOT_APPROVED", 132001),
    ],
)
def test_it_sends_approved_templates_only(
    acme: Cast, now: datetime, status: str, code: str, platform_code: int
) -> None:
    template(acme, status=status)

    refusal = refused(acme, now, WELCOME)

    assert (codes(refusal), refusal.platform_code) == ([code], platform_code)
    forced = TemplateContent("welcome_message", "en", WELCOME.parameters)
    row = Message.objects.get(pk=send(acme, now, forced, force=True).message_id)
    assert (row.pending.template_id, row.content["template"]["name"]) == (None, "welcome_message")


def test_it_names_the_languages_and_the_counts(acme: Cast, now: datetime) -> None:
    template(acme, language="pt_BR")
    template(acme, language="es")

    ambiguous = refused(acme, now, WELCOME)
    unknown = refused(acme, now, TemplateContent("welcome_message", "en", WELCOME.parameters))
    miscounted = refused(acme, now, TemplateContent("welcome_message", "es"))

    assert (codes(ambiguous), ambiguous.field) == (["TEMPLATE_LANGUAGE"], "language")
    assert "es, pt_BR" in ambiguous.message and "es, pt_BR" in unknown.message
    assert (codes(miscounted), miscounted.field) == (["TEMPLATE_PARAMETERS"], "template_params")
    assert miscounted.platform_code == 132000


def test_it_says_where_templates_cannot_be_known(acme: Cast, now: datetime) -> None:
    acme.workspace.waba_id = ""
    acme.workspace.save()

    refusal = refused(acme, now, WELCOME)

    assert (codes(refusal), refusal.field) == (["TEMPLATE_NOT_FOUND"], "workspace_id")
    assert "WABA ID" in refusal.message


def test_it_passes_on_all_of_a_template_nobody_knows_and_keeps_none(
    acme: Cast, now: datetime
) -> None:
    parameters = TemplateParameters(
        positional=("918273",),
        buttons=(ButtonValue(0, "918273"),),
        cards=(CardValue(positional=("Shoes",)),),
    )

    queued = send(acme, now, TemplateContent("fresh", "en", parameters), force=True)

    row = Message.objects.get(pk=queued.message_id)
    body, button, carousel = wire_of(row.id)["template"]["components"]
    assert body["parameters"][0]["text"] == button["parameters"][0]["text"] == "918273"
    assert carousel["cards"][0]["components"][0]["parameters"][0]["text"] == "Shoes"
    assert "918273" not in f"{row.text} {row.content}"


def test_it_keeps_no_one_time_password(acme: Cast, now: datetime) -> None:
    body = {"type": "BODY", "text": "{{1}} is your code."}
    template(acme, "login", category="AUTHENTICATION", components=[body, CODE])
    secret = TemplateContent(
        "login",
        "en",
        TemplateParameters(positional=("918273",), buttons=(ButtonValue(0, "918273"),)),
    )

    row = Message.objects.get(pk=send(acme, now, secret).message_id)

    assert "918273" in str(wire_of(row.id))
    assert "918273" not in f"{row.text} {row.content}"
    assert row.expires_at == now + timedelta(minutes=10)
    with pytest.raises(UnableToSend) as info:
        send(acme, now, secret, user_id="US.1")
    assert (codes(info.value), info.value.platform_code) == (["BSUID_NOT_SUPPORTED"], 131062)


def test_it_knows_its_own_number_and_a_test_numbers_list(acme: Cast, now: datetime) -> None:
    template(acme)
    allowed = digester(acme.tenant.id).phone("551187654321")
    own = numbers.seal("15550100001", tenant_id=acme.tenant.id, workspace_id=acme.workspace.id)
    number(acme, sealed_number=own, test_recipients=[allowed])

    assert codes(refused(acme, now, WELCOME, phone="+15550100001")) == ["RECIPIENT_IS_SENDER"]
    assert codes(refused(acme, now, WELCOME)) == ["TEST_RECIPIENT"]
    assert send(acme, now, WELCOME, phone="+5511987654321").status == "queued"


def test_it_waits_for_room_and_refuses_who_cannot(
    acme: Cast, heard: Message, now: datetime
) -> None:
    template(acme)
    number(acme, messaging_limit="TIER_2")
    for hours in (20, 10):
        PortfolioRecipient.objects.create(
            tenant_id=acme.tenant.id,
            portfolio_id="777",
            contact_id=uuid7(),
            opened_at=now - timedelta(hours=hours),
        )

    soon = now + timedelta(hours=3)
    refusal = refused(acme, now, WELCOME, phone="+27711558396", expires_at=soon)

    assert (codes(refusal), refusal.is_retryable) == (["LIMIT_REACHED"], True)
    assert send(acme, now, WELCOME, phone="+27711558396").status == "queued"
    # Whoever wrote within 24 hours does not count.
    assert send(acme, now, WELCOME, expires_at=soon).status == "queued"


def test_it_answers_and_reacts_to_messages_by_id(acme: Cast, heard: Message, now: datetime) -> None:
    answer = send(acme, now, reply_to=heard.id)
    reaction = send(acme, now, ReactionContent(heard.id, "👍"))

    assert wire_of(answer.message_id)["context"] == {"message_id": "wamid.HEARD"}
    assert wire_of(reaction.message_id)["reaction"]["message_id"] == "wamid.HEARD"
    stored = Message.objects.filter(pk__in=(answer.message_id, reaction.message_id))
    assert {row.reply_to for row in stored} == {heard.platform_message_id}


def test_it_cannot_answer_what_is_gone_or_not_sent(
    acme: Cast, heard: Message, now: datetime
) -> None:
    other = hear(acme, now, phone="27711558396", wamid="wamid.OTHER")
    own = send(acme, now)
    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=now.date() + timedelta(days=1))

    for target, code in (
        (heard.id, "REPLY_TARGET_GONE"),
        (other.id, "REPLY_TARGET_NOT_FOUND"),
        (own.message_id, "REPLY_TARGET_NOT_FOUND"),
        (uuid7(), "REPLY_TARGET_NOT_FOUND"),
    ):
        with pytest.raises(UnableToSend) as info:
            send(acme, now, reply_to=target)
        assert codes(info.value) == [code]


def test_it_answers_nothing_of_another_conversation(
    acme: Cast, globex: Cast, heard: Message, now: datetime
) -> None:
    second = provisioning.create_workspace(
        tenant_id=acme.tenant.id, name="Second", external_id="100000000000009"
    )
    elsewhere = hear(replace(acme, workspace=second), now, wamid="wamid.SECOND")
    theirs = hear(globex, now, wamid="wamid.THEIRS")
    in_group = hear(acme, now, wamid="wamid.GROUP")
    Message.objects.filter(pk=in_group.pk).update(group_id="sales")

    assert elsewhere.contact_id == in_group.contact_id == heard.contact_id
    for target in (elsewhere, theirs, in_group):
        for field, wanted in (
            ("reply_to", {"reply_to": target.id}),
            ("reaction.message_id", {"content": ReactionContent(target.id, "👍")}),
        ):
            refusal = refused(acme, now, **wanted)
            assert (codes(refusal), refusal.field) == (["REPLY_TARGET_NOT_FOUND"], field)


def test_it_names_the_recipient_that_was_given(acme: Cast, now: datetime) -> None:
    template(acme)
    written = send(acme, now, WELCOME, user_id="US.7")
    contact_id = Message.objects.get(pk=written.message_id).contact_id
    optouts.opt_out(tenant_id=acme.tenant.id, contact_ids=[contact_id], source=OptOutSource.API)

    with pytest.raises(UnableToSend) as info:
        send(acme, now, WELCOME, user_id="US.7")

    assert (codes(info.value), info.value.field) == (["OPTED_OUT"], "recipient_user_id")


def test_a_stop_holds_for_one_tenant(
    acme: Cast, globex: Cast, heard: Message, now: datetime
) -> None:
    for cast in (acme, globex):
        template(cast)
    optouts.opt_out(
        tenant_id=acme.tenant.id, contact_ids=[heard.contact_id], source=OptOutSource.API
    )

    assert codes(refused(acme, now, WELCOME)) == ["OPTED_OUT"]
    assert send(globex, now, WELCOME).status == "queued"


def test_room_that_comes_as_a_message_expires_comes_too_late(acme: Cast, now: datetime) -> None:
    template(acme)
    number(acme, messaging_limit="TIER_2")
    for hours in (20, 10):
        PortfolioRecipient.objects.create(
            tenant_id=acme.tenant.id,
            portfolio_id="777",
            contact_id=uuid7(),
            opened_at=now - timedelta(hours=hours),
        )
    free, second = now + timedelta(hours=4), timedelta(seconds=1)

    refusal = refused(acme, now, WELCOME, expires_at=free)

    assert (codes(refusal), refusal.field) == (["LIMIT_REACHED"], "expires_at")
    assert f"{free:%Y-%m-%d %H:%M} UTC" in refusal.message
    assert send(acme, now, WELCOME, expires_at=free + second).status == "queued"


def test_a_portfolio_of_another_tenant_takes_no_room(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    template(acme)
    number(acme, messaging_limit="TIER_2")
    for cast, portfolio in ((globex, "777"), (acme, "778")):
        for _ in range(2):
            PortfolioRecipient.objects.create(
                tenant_id=cast.tenant.id,
                portfolio_id=portfolio,
                contact_id=uuid7(),
                opened_at=now - timedelta(hours=1),
            )

    soon = now + timedelta(minutes=1)
    assert send(acme, now, WELCOME, expires_at=soon).status == "queued"


def test_it_sends_from_active_workspaces_with_a_connector(
    acme: Cast, heard: Message, now: datetime, settings
) -> None:
    acme.workspace.is_active = False
    acme.workspace.transport = "PIGEON"
    acme.workspace.save()

    assert codes(refused(acme, now)) == ["WORKSPACE_INACTIVE", "UNSUPPORTED_TRANSPORT"]
    settings.SIGMA_CHANNELS = {"PIGEON": "pigeons.Channel"}
    acme.workspace.is_active = True
    acme.workspace.save()
    assert send(acme, now, request_to(acme).content, phone=f"+{PHONE}").status == "queued"
