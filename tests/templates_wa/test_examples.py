"""Headers of pictures, films and documents: their files are checked, given to Meta and named by
handles, against a simulated Meta that takes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp.channel import CloudApiChannel
from messaging import uploads
from messaging.models import Upload
from messaging.sealed_storage import StorageAway
from templates_wa import examples, management
from templates_wa.management import UnableToManage
from templates_wa.models import Template, TemplateExample
from templates_wa.sync import sync
from tests.conftest import Cast
from tests.files.conftest import folder
from tests.files.kept import kept
from tests.files.samples import PDF, PNG, SAMPLES
from tests.graphql.conftest import Gql, gql, key_with
from tests.sending.test_rest import ask
from workspaces import secrets
from workspaces.access import Scope
from workspaces.channel_facts import TemplateDraft
from workspaces.channels import OutgoingFile
from workspaces.models import SecretKind

__all__ = ["folder", "gql"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder", "woken")]
BODY = {"type": "BODY", "text": "Have a look at this."}
LARGE = PNG + bytes(1_000_000)


@pytest.fixture
def meta(acme: Cast, globex: Cast, settings: Any) -> Iterator[RunningSimulator]:
    """Run a Meta that has acme's account."""
    world = business(
        app_secret=acme.app_secret,
        access_token="acme-token",
        waba_id=acme.workspace.waba_id,
        phone_number_id=acme.workspace.external_id,
    )
    secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="acme-token")
    with RunningSimulator(world) as running:
        settings.SIGMA_GRAPH_URL = running.url
        yield running


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was begun and given to Meta, in order."""
    asked: list[tuple[str, str]] = []
    begin, send = CloudApiChannel.open_example, CloudApiChannel.send_example

    def open_example(channel: CloudApiChannel, file: OutgoingFile) -> str:
        asked.append(("begun", file.mime_type))
        return begin(channel, file)

    def send_example(channel: CloudApiChannel, name: str, file: OutgoingFile, **more: Any) -> str:
        asked.append(("given", name))
        return send(channel, name, file, **more)

    monkeypatch.setattr(CloudApiChannel, "open_example", open_example)
    monkeypatch.setattr(CloudApiChannel, "send_example", send_example)
    return asked


def header(media_id: object, format_: str = "IMAGE") -> dict[str, Any]:
    return {"type": "HEADER", "format": format_, "media": {"id": str(media_id)}}


def create(cast: Cast, now: datetime, *components: dict[str, Any], name: str = "look") -> Template:
    return management.create(
        tenant_id=cast.tenant.id,
        workspace_id=cast.workspace.id,
        draft=TemplateDraft(name, "en", "MARKETING", (*components, BODY)),
        now=now,
    )


def refused(cast: Cast, now: datetime, *components: dict[str, Any]) -> list[tuple[str, str | None]]:
    with pytest.raises(UnableToManage) as caught:
        create(cast, now, *components)
    return [(refusal.code.value, refusal.field) for refusal in caught.value.refusals]


@pytest.mark.parametrize(
    ("format_", "mime_type", "name"),
    [
        ("IMAGE", "image/png", "a.png"),
        ("IMAGE", "image/jpeg", "a.jpg"),
        ("VIDEO", "video/mp4", "a.mp4"),
        ("GIF", "video/mp4", "a.mp4"),
        ("DOCUMENT", "application/pdf", "a.pdf"),
    ],
)
def test_a_template_is_made_with_a_file_of_ours(
    acme: Cast, meta: RunningSimulator, now: datetime, format_: str, mime_type: str, name: str
) -> None:
    media_id = kept(acme, SAMPLES[mime_type], name)

    made = create(acme, now, header(media_id, format_))
    assert (made.status, made.components[0]) == ("PENDING", header(media_id, format_))
    assert not TemplateExample.objects.exists()

    sync(acme.workspace, now=now + timedelta(seconds=5))
    made.refresh_from_db()
    assert made.components[0]["example"]["header_handle"][0].startswith("https://")


def test_each_card_of_a_carousel_has_its_file(
    acme: Cast, meta: RunningSimulator, now: datetime, given: list[Any]
) -> None:
    one, other = kept(acme, PNG, "a.png"), kept(acme, PNG + b"other", "b.png")
    cards = [{"components": [header(media_id), BODY]} for media_id in (one, other, one)]

    made = create(acme, now, {"type": "CAROUSEL", "cards": cards})

    assert made.status == "PENDING"
    assert [what for what, _ in given] == ["begun", "given", "begun", "given"]


def test_an_edit_gives_meta_the_file_anew(
    acme: Cast, globex: Cast, meta: RunningSimulator, now: datetime
) -> None:
    made = create(acme, now, header(kept(acme, PNG, "a.png")))
    Template.objects.update(status="REJECTED")
    meta.control.change("templates", "look", status="REJECTED")
    other = kept(acme, PNG + b"other", "b.png")
    edited = {"components": [header(other), BODY], "ttl_seconds": None, "now": now}

    row = management.edit(tenant_id=acme.tenant.id, template_id=made.id, **edited)
    assert (row.status, row.components[0]) == ("PENDING", header(other))

    Template.objects.update(status="REJECTED")
    theirs = [header(kept(globex, PNG, "c.png")), BODY]
    with pytest.raises(UnableToManage, match="no file with this id"):
        management.edit(
            tenant_id=acme.tenant.id, template_id=made.id, **{**edited, "components": theirs}
        )


def test_what_meta_would_refuse_is_said_before(
    acme: Cast, globex: Cast, meta: RunningSimulator, now: datetime, given: list[Any]
) -> None:
    png, field = kept(acme, PNG, "a.png"), "components[0].media.id"
    theirs = kept(globex, PNG, "a.png")
    film = kept(acme, SAMPLES["video/mp4"], "a.mp4")
    Upload.objects.filter(pk=film).update(size_bytes=4_000_000)

    assert refused(acme, now, header(uuid4())) == [("MEDIA_NOT_FOUND", field)]
    assert refused(acme, now, header(theirs)) == [("MEDIA_NOT_FOUND", field)]
    assert refused(acme, now, header(png, "VIDEO")) == [("MEDIA_KIND", field)]
    assert refused(acme, now, header(film, "GIF")) == [("MEDIA_KIND", field)]
    film_3gp = kept(acme, SAMPLES["video/3gpp"], "a.3gp")
    assert refused(acme, now, header(film_3gp, "VIDEO")) == [("MEDIA_KIND", field)]
    cards = [{"components": [header(one), BODY]} for one in (png, uuid4())]
    assert refused(acme, now, {"type": "CAROUSEL", "cards": cards}) == [
        ("MEDIA_NOT_FOUND", "components[0].cards[1].components[0].media.id")
    ]
    assert given == []


@pytest.mark.parametrize(
    "part",
    [
        {"media": "a"},
        {"media": {"id": "1037543291543636"}},
        {"media": {"id": str(UUID(int=1)), "link": "https://a.example/a.png"}},
        {"media": {"id": str(UUID(int=1))}, "example": {"header_handle": ["4::a"]}},
        {"example": {"header_handle": ["https://a.example/a.png"]}},
        {"example": {"header_handle": ["1037543291543636"]}},
        {"example": {"header_handle": "1037543291543636"}},
        {"example": {"header_handle": [7]}},
        {"example": {}},
        {"format": "TEXT", "text": "Hi", "media": {"id": str(UUID(int=1))}},
    ],
)
def test_a_header_names_its_file_in_one_way(
    acme: Cast, meta: RunningSimulator, now: datetime, part: dict[str, Any]
) -> None:
    found = refused(acme, now, {"type": "HEADER", "format": "IMAGE", **part})

    assert {code for code, _ in found} == {"INVALID_TEMPLATE"}


def test_an_upload_that_broke_off_goes_on_when_asked_again(
    acme: Cast, meta: RunningSimulator, now: datetime, given: list[tuple[str, str]]
) -> None:
    media_id = kept(acme, LARGE, "a.png")
    # Every second request of an upload asks how far it is; the others break off half-way.
    meta.control.rule("half", edge="upload", every=2)

    with pytest.raises(UnableToManage, match="goes on from there") as caught:
        create(acme, now, header(media_id))
    assert caught.value.refusals[0].code == "PLATFORM_UNAVAILABLE"
    assert not Template.objects.exists()
    meta.control.lift_rules()

    assert create(acme, now + timedelta(seconds=1), header(media_id)).status == "PENDING"
    begun, first, again = given
    assert (begun[0], first[0], again) == ("begun", "given", first)
    assert not TemplateExample.objects.exists()


def test_an_upload_that_meta_forgot_begins_anew(
    acme: Cast, meta: RunningSimulator, now: datetime, given: list[tuple[str, str]]
) -> None:
    media_id = kept(acme, PNG, "a.png")
    TemplateExample.objects.create(
        tenant_id=acme.tenant.id, media_id=media_id, session="upload:forgotten", created_at=now
    )

    assert create(acme, now, header(media_id)).status == "PENDING"
    assert [what for what, _ in given] == ["given", "begun", "given"]
    assert not TemplateExample.objects.exists()


def test_two_requests_with_one_file_have_uploads_of_their_own(
    acme: Cast, globex: Cast, meta: RunningSimulator, now: datetime, given: list[tuple[str, str]]
) -> None:
    media_id, lease = kept(acme, PNG, "a.png"), now + timedelta(minutes=1)
    whose = {"media_id": media_id, "created_at": now}
    for cast, until in ((acme, lease), (globex, None)):
        TemplateExample.objects.create(
            tenant_id=cast.tenant.id, session="upload:busy", lease_until=until, **whose
        )

    assert create(acme, now, header(media_id)).status == "PENDING"
    assert [what for what, _ in given] == ["begun", "given"]
    assert TemplateExample.objects.count() == 2


def test_old_uploads_are_not_gone_on_with_and_not_kept(
    acme: Cast, meta: RunningSimulator, now: datetime, given: list[tuple[str, str]]
) -> None:
    media_id = kept(acme, PNG, "a.png")
    for one in (media_id, uuid4()):
        TemplateExample.objects.create(
            tenant_id=acme.tenant.id,
            media_id=one,
            session="upload:old",
            created_at=now - 2 * examples.LIFE,
        )

    assert create(acme, now, header(media_id)).status == "PENDING"
    assert [what for what, _ in given] == ["begun", "given"]
    assert not TemplateExample.objects.exists()


@pytest.mark.parametrize(
    ("edge", "preset", "code"),
    [
        ("uploads", "close_before", "PLATFORM_UNAVAILABLE"),
        ("uploads", "bare_500", "PLATFORM_UNAVAILABLE"),
        ("upload", "close_before", "PLATFORM_UNAVAILABLE"),
        ("message_templates", "close_before", "OUTCOME_UNKNOWN"),
    ],
)
def test_meta_away_in_the_middle_is_told(
    acme: Cast, meta: RunningSimulator, now: datetime, edge: str, preset: str, code: str
) -> None:
    media_id = kept(acme, PNG, "a.png")
    meta.control.rule(preset, edge=edge)

    assert refused(acme, now, header(media_id)) == [(code, None)]
    meta.control.lift_rules()
    assert create(acme, now, header(media_id), name="again").status == "PENDING"


def test_a_file_that_cannot_be_read_is_told(
    acme: Cast, meta: RunningSimulator, now: datetime, folder: Any
) -> None:
    media_id = kept(acme, PDF, "a.pdf")
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()

    assert refused(acme, now, header(media_id, "DOCUMENT")) == [("PLATFORM_REJECTED", None)]
    assert not TemplateExample.objects.exists()
    assert refused(acme, now, header(media_id, "DOCUMENT"))[0][0] == "MEDIA_NOT_FOUND"


def test_a_storage_that_is_away_is_told(
    acme: Cast, meta: RunningSimulator, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = kept(acme, PDF, "a.pdf")

    def away(upload: Upload) -> Iterator[bytes]:
        raise StorageAway("Away.")
        yield b""

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "pieces", away)
        assert refused(acme, now, header(media_id, "DOCUMENT")) == [("PLATFORM_UNAVAILABLE", None)]
    assert create(acme, now, header(media_id, "DOCUMENT")).status == "PENDING"


TEMPLATES = "/api/v1/templates"
CREATE = """
mutation ($input: CreateMessageTemplateInput!) { createMessageTemplate(input: $input) {
  success template { id status components } errors { code field message }
} }
"""
EDIT = """
mutation ($input: EditMessageTemplateInput!) { editMessageTemplate(input: $input) {
  success template { status components } errors { code field }
} }
"""


def asked(cast: Cast, media_id: object, name: str = "look") -> dict[str, Any]:
    facts = {"name": name, "language": "en", "category": "marketing"}
    return {**facts, "workspace_id": str(cast.workspace.id), "components": [header(media_id), BODY]}


def rest(
    cast: Cast | str, method: str, path: str = TEMPLATES, body: object = None
) -> tuple[int, dict[str, Any]]:
    return ask(cast, path, body, method)


def test_a_template_is_made_and_edited_by_rest(
    acme: Cast, globex: Cast, meta: RunningSimulator
) -> None:
    media_id = kept(acme, PNG, "a.png")

    status, shown = rest(acme, "post", body=asked(acme, media_id))
    assert (status, shown["status"]) == (201, "PENDING")
    assert shown["components"][0] == header(media_id)
    one = f"{TEMPLATES}/{shown['id']}"
    assert rest(acme, "get", one)[1]["name"] == "look"
    assert rest(globex, "get", one)[0] == 404
    status, again = rest(acme, "post", body=asked(acme, media_id))
    assert (status, again["error"]["code"]) == (409, "DUPLICATE")

    edited = {"components": [header(media_id), BODY]}
    assert rest(acme, "patch", one, edited)[1]["error"]["code"] == "NOT_EDITABLE"
    Template.objects.update(status="REJECTED")
    meta.control.change("templates", "look", status="REJECTED")
    assert rest(globex, "patch", one, edited)[0] == 404
    assert rest(acme, "patch", one, edited)[1]["status"] == "PENDING"


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"workspace_id": str(UUID(int=1))}, 404, "WORKSPACE_NOT_FOUND", "workspace_id"),
        ({"workspace_id": "x"}, 400, "INVALID_INPUT", None),
        ({"colour": "red"}, 400, "INVALID_INPUT", None),
        ({"components": ["x"]}, 400, "INVALID_INPUT", None),
        ({"components": [BODY, BODY]}, 422, "INVALID_TEMPLATE", "components"),
        (
            {"components": [header(UUID(int=1)), BODY]},
            422,
            "MEDIA_NOT_FOUND",
            "components[0].media.id",
        ),
    ],
)
def test_rest_says_why_not(
    acme: Cast,
    meta: RunningSimulator,
    change: dict[str, Any],
    status: int,
    code: str,
    field: str | None,
) -> None:
    said, answer = rest(acme, "post", body=asked(acme, uuid4()) | change)

    error = answer["error"]
    assert (said, error["code"], error["field"]) == (status, code, field)


def test_rest_says_that_meta_is_away(acme: Cast, meta: RunningSimulator) -> None:
    meta.control.rule("close_before", edge="uploads")

    status, answer = rest(acme, "post", body=asked(acme, kept(acme, PNG, "a.png")))

    assert (status, answer["error"]["retryable"]) == (503, True)


def test_reading_templates_is_not_writing_them(acme: Cast, meta: RunningSimulator) -> None:
    key = key_with(acme.tenant, Scope.TEMPLATES_READ)

    assert rest(key, "post", body={})[0] == 403
    assert rest(key, "get", f"{TEMPLATES}/{uuid4()}")[0] == 404


def test_a_template_is_made_and_edited_by_graphql(
    gql: Gql, acme: Cast, globex: Cast, meta: RunningSimulator
) -> None:
    media_id = kept(acme, PNG, "a.png")
    given = {**asked(acme, media_id), "workspaceId": str(acme.workspace.id)}
    del given["workspace_id"]

    made = gql(acme, CREATE, input=given).data["createMessageTemplate"]
    assert (made["success"], made["template"]["components"][0]) == (True, header(media_id))

    Template.objects.update(status="REJECTED")
    meta.control.change("templates", "look", status="REJECTED")
    wanted = {"id": made["template"]["id"], "components": [header(uuid4()), BODY]}
    refused = gql(acme, EDIT, input=wanted).data["editMessageTemplate"]
    assert refused["errors"] == [{"code": "MEDIA_NOT_FOUND", "field": "components[0].media.id"}]
    edited = gql(acme, EDIT, input={**wanted, "components": [header(media_id), BODY]})
    assert edited.data["editMessageTemplate"]["template"]["status"] == "PENDING"
