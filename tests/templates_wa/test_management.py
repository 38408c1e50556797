"""Templates are created, edited and deleted at the platform, and in the catalogue at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.events.models import EventSubscription, OutgoingEvent
from templates_wa import changes, drafts, management
from templates_wa.events import TemplateEvent
from templates_wa.management import TemplateErrorCode, UnableToManage
from templates_wa.models import Template, TemplateSync
from templates_wa.sync import sync
from tests.conftest import Cast
from tests.templates_wa.account import Platform, fact, in_catalogue
from workspaces.channel_errors import ChannelError, OutcomeUnknown, Rejected, Unavailable
from workspaces.channel_facts import TemplateDraft
from workspaces.models import Workspace

BODY: dict[str, Any] = {
    "type": "BODY",
    "text": "Hello {{1}}, welcome!",
    "example": {"body_text": [["Ada"]]},
}
SECOND = timedelta(seconds=1)


def draft(**parts: Any) -> TemplateDraft:
    return TemplateDraft(
        **{
            "name": "welcome",
            "language": "en",
            "category": "UTILITY",
            "components": (BODY,),
            **parts,
        }
    )


def said(*components: dict[str, Any], **parts: Any) -> list[str]:
    given = draft(components=components or (BODY,), **parts)
    return [
        p.message
        for p in drafts.problems(
            name=given.name,
            language=given.language,
            category=given.category,
            parameter_format=given.parameter_format,
            components=given.components,
        )
    ]


def button(**parts: Any) -> dict[str, Any]:
    return {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Go", **parts}]}


def header(**parts: Any) -> dict[str, Any]:
    return {"type": "HEADER", "format": "TEXT", **parts}


@pytest.mark.parametrize(
    ("components", "said_is"),
    [
        ([header(text="Hi")], "components: no BODY was given, 1 is expected"),
        ([BODY, BODY], "components: 2 BODY were given, 1 is allowed"),
        (
            [{**BODY, "text": "{{1}} is here"}],
            "body: the text begins or ends with a variable (Meta: 2388299)",
        ),
        (
            [{**BODY, "text": "Hi {{2}}!"}],
            "body: variables are numbered {{1}}, {{2}} … without a gap",
        ),
        (
            [{"type": "BODY", "text": "Hi {{1}} and {{2}}!", "example": {"body_text": [["a"]]}}],
            "body: 1 examples were given for 2 variables: example.body_text",
        ),
        (
            [{"type": "BODY", "text": "x" * 1025}],
            "body: the text has 1025 characters, 1024 are allowed",
        ),
        (
            [BODY, header(format="IMAGE")],
            "header: the IMAGE needs an example: media {id} of a file that you uploaded, or "
            "example.header_handle of an upload to Meta",
        ),
        ([BODY, header(text="x" * 61)], "header: the text has 61 characters, 60 are allowed"),
        ([BODY, {"type": "FOOTER", "text": "Bye {{1}}"}], "footer: a footer has no variables"),
        (
            [BODY, {"type": "BUTTONS", "buttons": []}],
            "buttons: 0 buttons were given, 1 to 10 are expected",
        ),
        (
            [BODY, button(url="https://x.example", text="y" * 26)],
            "button[0]: the text has 26 characters, 25 are allowed",
        ),
        (
            [BODY, button(url="https://x.example/{{1}}/y", example=["a"])],
            "button[0]: a URL has at most one variable, and at its end",
        ),
        (
            [BODY, button(url="https://x.example/{{1}}")],
            "button[0]: the URL's variable needs an example",
        ),
        (
            [BODY, {"type": "CAROUSEL", "cards": [{"components": [header(text="Hi")]}]}],
            "carousel: 1 cards were given, 2 to 10 are expected",
        ),
        (
            [BODY, {"type": "FOOTER", "text": "Bye"}, {"type": "LIMITED_TIME_OFFER"}],
            "components: a limited-time offer has no FOOTER",
        ),
    ],
)
def test_it_says_what_meta_would_refuse(components: list[dict[str, Any]], said_is: str) -> None:
    assert said(*components) == [said_is]


@pytest.mark.parametrize(
    "parts",
    [
        {"name": "Welcome!"},
        {"language": "english"},
        {"category": "SPAM"},
        {"parameter_format": "ROMAN"},
    ],
)
def test_it_checks_the_names(parts: dict[str, str]) -> None:
    (field,) = parts
    (message,) = said(**parts)

    assert message.startswith(f"{field}: ")


def test_it_accepts_what_meta_accepts() -> None:
    named = {
        "type": "BODY",
        "text": "Hi {{first}}!",
        "example": {"body_text_named_params": [{"param_name": "first", "example": "Ada"}]},
    }
    otp = {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE"}]}
    assert said() == []
    assert said(named, parameter_format="NAMED") == []
    assert said({"type": "BODY"}, otp, category="AUTHENTICATION") == []
    assert said(BODY, {"type": "OF_A_LATER_VERSION"}) == []


@pytest.fixture
def synced(acme: Cast, globex: Cast, platform: Platform, woken: Any, now: datetime) -> Template:
    """Return acme's template; globex has one of the same name."""
    for cast in (acme, globex):
        platform.accounts[cast.workspace.waba_id] = [fact(), fact("welcome", "de")]
        sync(cast.workspace, now=now)
    platform.asked.clear()
    return Template.objects.get(tenant_id=acme.tenant.id, language="en")


def refused(call: Callable[[], object]) -> management.TemplateRefusal:
    with pytest.raises(UnableToManage) as caught:
        call()
    return caught.value.refusals[0]


def creating(cast: Cast, now: datetime, **parts: Any) -> Callable[[], Template]:
    return lambda: management.create(
        tenant_id=cast.tenant.id, workspace_id=cast.workspace.id, draft=draft(**parts), now=now
    )


@pytest.mark.usefixtures("woken")
def test_it_creates(acme: Cast, globex: Cast, platform: Platform, now: datetime) -> None:
    made = creating(acme, now)()

    assert (made.status, made.components) == ("PENDING", [BODY])
    assert platform.asked == [("create", "welcome", "en")]
    assert in_catalogue(globex) == {}


def test_it_asks_the_platform_only_for_what_can_be(
    acme: Cast, globex: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    assert refused(creating(acme, now)).code == "DUPLICATE"
    assert refused(creating(acme, now, name="No!")).code == "INVALID_TEMPLATE"
    foreign = {"tenant_id": globex.tenant.id, "template_id": synced.id, "now": now}
    assert refused(lambda: management.delete(**foreign, all_languages=True)).code == (
        "TEMPLATE_NOT_FOUND"
    )
    assert platform.asked == []


def test_it_edits_and_sends_nothing_until_meta_is_asked_again(
    acme: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    management.edit(
        tenant_id=acme.tenant.id,
        template_id=synced.id,
        components=[BODY],
        ttl_seconds=None,
        now=now + SECOND,
    )

    assert in_catalogue(acme) == {("welcome", "en"): "PENDING", ("welcome", "de"): "APPROVED"}
    assert platform.asked == [("edit", synced.platform_template_id)]
    assert TemplateSync.objects.get(tenant_id=acme.tenant.id).due_at < now + 60 * SECOND
    again = {"components": [BODY], "ttl_seconds": None, "now": now}
    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id}
    assert refused(lambda: management.edit(**ids, **again)).code == "NOT_EDITABLE"


def report(cast: Cast, change: str, word: str, at: datetime) -> None:
    """Let Meta say something of the cast's template."""
    row = Template.objects.get(tenant_id=cast.tenant.id, name="welcome", language="en")
    names = (row.platform_template_id, row.name, row.language)
    said = TemplateEvent(row.waba_id, change, word, *names, None, {}, at)
    changes.store([changes.ReportedChange(cast.tenant.id, said)])


@pytest.mark.parametrize(
    ("change", "word", "expected"),
    [
        (changes.STATUS, "DISABLED", ("DISABLED", "", "MARKETING")),
        (changes.QUALITY, "RED", ("PENDING", "RED", "MARKETING")),
        (changes.CATEGORY, "UTILITY", ("PENDING", "", "UTILITY")),
    ],
)
def test_what_meta_says_during_an_edit_stays(
    acme: Cast,
    globex: Cast,
    platform: Platform,
    synced: Template,
    now: datetime,
    change: str,
    word: str,
    expected: tuple[str, str, str],
) -> None:
    later = now + 5 * SECOND
    platform.meanwhile = lambda: report(acme, change, word, later)

    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id}
    row = management.edit(**ids, components=[BODY], ttl_seconds=None, now=now + SECOND)

    synced.refresh_from_db()
    assert (row.status, row.quality, row.category) == expected
    assert (synced.status, synced.quality, synced.category) == expected
    assert synced.components == [BODY]
    assert in_catalogue(globex)["welcome", "en"] == "APPROVED"


def test_an_approval_within_the_second_of_the_edit_counts(
    acme: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id}
    edited = now.replace(microsecond=700_000) + SECOND
    management.edit(**ids, components=[BODY], ttl_seconds=None, now=edited)

    report(acme, changes.STATUS, "APPROVED", edited.replace(microsecond=0))

    assert in_catalogue(acme)["welcome", "en"] == "APPROVED"


def test_a_template_that_was_deleted_during_an_edit_stays_so(
    acme: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    platform.meanwhile = lambda: report(acme, changes.STATUS, "DELETED", now + 5 * SECOND)

    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id}
    management.edit(**ids, components=[BODY], ttl_seconds=None, now=now + SECOND)

    assert ("welcome", "en") not in in_catalogue(acme)


def test_a_sync_that_was_faster_than_the_answer_stays(
    acme: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    def listed() -> None:
        platform.meanwhile = None
        platform.accounts[acme.workspace.waba_id].append(fact("fresh", quality="GREEN"))
        sync(acme.workspace, now=now + 5 * SECOND)

    platform.meanwhile = listed

    made = creating(acme, now, name="fresh")()

    assert (made.status, made.quality) == ("APPROVED", "GREEN")
    assert in_catalogue(acme)["fresh", "en"] == "APPROVED"


@pytest.mark.parametrize(("every", "left"), [(False, {("welcome", "de")}), (True, set())])
def test_it_deletes(
    acme: Cast, globex: Cast, synced: Template, now: datetime, every: bool, left: set[Any]
) -> None:
    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id}

    gone = management.delete(**ids, all_languages=every, now=now + SECOND)

    assert (gone, set(in_catalogue(acme))) == (2 - len(left), left)
    assert len(in_catalogue(globex)) == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Rejected(100, "No.", details="Why", trace_id="T1"), TemplateErrorCode.PLATFORM_REJECTED),
        (Unavailable("Away."), TemplateErrorCode.PLATFORM_UNAVAILABLE),
        (OutcomeUnknown("Who knows."), TemplateErrorCode.OUTCOME_UNKNOWN),
    ],
)
def test_it_hands_on_what_the_platform_says(
    acme: Cast, platform: Platform, synced: Template, now: datetime, error: ChannelError, code: str
) -> None:
    platform.error = error

    refusal = refused(creating(acme, now, name="other"))

    assert (refusal.code, refusal.message) == (code, error.message)
    assert (refusal.platform_code or 0, refusal.details) == (error.code, error.details)
    assert ("other", "en") not in in_catalogue(acme)
    due = TemplateSync.objects.get(tenant_id=acme.tenant.id).due_at < now + 60 * SECOND
    assert due is isinstance(error, OutcomeUnknown)


@pytest.fixture
def one_account(acme: Cast, globex: Cast, platform: Platform, synced: Template) -> Template:
    """Return acme's template of an account that globex has too, with templates of the same names;
    acme has another account beside it.
    """
    account = acme.workspace.waba_id
    Template.objects.update(waba_id=account)
    Workspace.objects.filter(pk=globex.workspace.pk).update(waba_id=account)
    Template.objects.create(
        tenant_id=acme.tenant.id,
        waba_id="777",
        platform_template_id=synced.platform_template_id,
        name="welcome",
        language="en",
        status="APPROVED",
        synced_at=synced.synced_at,
    )
    return synced


def statuses_of(**which: Any) -> dict[str, str]:
    rows = Template.objects.filter(**which)
    return {row.language: "DELETED" if row.deleted_at else row.status for row in rows}


@pytest.mark.parametrize("every", [False, True])
def test_it_deletes_of_its_tenant_and_account_only(
    acme: Cast, globex: Cast, one_account: Template, now: datetime, every: bool
) -> None:
    ids = {"tenant_id": acme.tenant.id, "template_id": one_account.id}

    gone = management.delete(**ids, all_languages=every, now=now + SECOND)

    assert gone == (2 if every else 1)
    assert statuses_of(tenant_id=globex.tenant.id) == {"en": "APPROVED", "de": "APPROVED"}
    assert statuses_of(waba_id="777") == {"en": "APPROVED"}


def test_what_was_deleted_is_made_anew_in_its_own_row(
    acme: Cast, globex: Cast, one_account: Template, now: datetime
) -> None:
    ids = {"tenant_id": acme.tenant.id, "template_id": one_account.id}
    management.delete(**ids, all_languages=False, now=now + SECOND)

    made = creating(acme, now + 2 * SECOND)()
    new = creating(acme, now + 2 * SECOND, language="fr")()

    assert (made.pk, new.pk == made.pk) == (one_account.pk, False)
    mine = {"en": "PENDING", "de": "APPROVED", "fr": "PENDING"}
    assert statuses_of(tenant_id=acme.tenant.id, waba_id=acme.workspace.waba_id) == mine
    assert statuses_of(tenant_id=globex.tenant.id) == {"en": "APPROVED", "de": "APPROVED"}
    assert statuses_of(waba_id="777") == {"en": "APPROVED"}


def test_a_name_is_taken_within_its_language_and_account_only(
    acme: Cast, globex: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    Template.objects.filter(tenant_id=globex.tenant.id, language="en").delete()

    assert refused(creating(acme, now)).code == "DUPLICATE"
    assert creating(globex, now)().tenant_id == globex.tenant.id
    assert creating(acme, now, language="fr")().language == "fr"
    assert creating(acme, now, name="farewell")().name == "farewell"


def test_meta_deletes_no_template_that_it_disabled(
    acme: Cast, globex: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    Template.objects.filter(tenant_id=globex.tenant.id).update(status="DISABLED")
    theirs = Template.objects.filter(tenant_id=globex.tenant.id)[0]

    refusal = refused(
        lambda: management.delete(
            tenant_id=globex.tenant.id, template_id=theirs.id, all_languages=False, now=now
        )
    )

    assert (refusal.code, "DISABLED" in refusal.message) == ("NOT_DELETABLE", True)
    assert platform.asked == []
    mine = {"tenant_id": acme.tenant.id, "template_id": synced.id, "all_languages": False}
    assert management.delete(**mine, now=now + SECOND) == 1


def test_nobody_edits_or_makes_through_another_tenant(
    acme: Cast, globex: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    edited = {"components": [BODY], "ttl_seconds": None, "now": now}
    foreign = {"tenant_id": globex.tenant.id, "template_id": synced.id}
    through = {"tenant_id": globex.tenant.id, "workspace_id": acme.workspace.id}

    assert refused(lambda: management.edit(**foreign, **edited)).code == "TEMPLATE_NOT_FOUND"
    refusal = refused(lambda: management.create(**through, draft=draft(name="b"), now=now))
    assert (refusal.code, refusal.field) == ("WORKSPACE_NOT_FOUND", "workspaceId")
    assert platform.asked == []


@pytest.mark.parametrize("every", [False, True])
def test_it_names_one_language_to_the_platform_by_its_id(
    acme: Cast, platform: Platform, synced: Template, now: datetime, every: bool
) -> None:
    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id}

    management.delete(**ids, all_languages=every, now=now)

    asked = "" if every else synced.platform_template_id
    assert platform.asked == [("delete", "welcome", asked)]


def test_an_edit_is_checked_before_the_platform_is_asked(
    acme: Cast, globex: Cast, platform: Platform, synced: Template, now: datetime
) -> None:
    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id}
    edited = {"components": [header(text="Hi")], "ttl_seconds": None, "now": now}

    refusal = refused(lambda: management.edit(**ids, **edited))

    assert (refusal.code, refusal.field) == ("INVALID_TEMPLATE", "components")
    assert platform.asked == []
    synced.refresh_from_db()
    assert synced.status == "APPROVED"


def test_an_edit_keeps_how_long_it_is_worth_delivering_unless_that_is_given(
    acme: Cast, synced: Template, now: datetime
) -> None:
    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id}
    found = []
    for seconds in (600, None, 60):
        Template.objects.filter(pk=synced.pk).update(status="APPROVED")
        row = management.edit(**ids, components=[BODY], ttl_seconds=seconds, now=now)
        found.append(row.ttl_seconds)

    assert found == [600, 600, 60]


def test_it_publishes_what_was_made_edited_and_deleted(
    acme: Cast, globex: Cast, synced: Template, now: datetime
) -> None:
    for cast in (acme, globex):
        EventSubscription.objects.create(
            tenant_id=cast.tenant.id, url="https://apps.example/", sealed_secrets=b""
        )
    ids = {"tenant_id": acme.tenant.id, "template_id": synced.id, "now": now}

    creating(acme, now, language="fr")()
    management.edit(**ids, components=[BODY], ttl_seconds=None)
    management.delete(**ids, all_languages=True)

    events = OutgoingEvent.objects.order_by("id")
    assert {(event.tenant_id, event.type) for event in events} == {
        (acme.tenant.id, "template.updated")
    }
    said = [(event.data["language"], event.data["status"]) for event in events]
    assert said[:2] == [("fr", "PENDING"), ("en", "PENDING")]
    assert sorted(said[2:]) == [(code, "DELETED") for code in ("de", "en", "fr")]
