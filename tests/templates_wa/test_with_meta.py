"""The same over HTTP: the real channel against a simulated Meta, with paging and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp import channel
from templates_wa import catalogue, management
from templates_wa.management import UnableToManage
from templates_wa.models import Template
from templates_wa.parameters import read
from templates_wa.rendering import wire
from templates_wa.sync import sync
from templates_wa.validation import problems
from tests.conftest import Cast
from tests.templates_wa.account import in_catalogue
from workspaces import secrets
from workspaces.channel_errors import Rejected
from workspaces.channel_facts import TemplateDraft
from workspaces.models import SecretKind

pytestmark = pytest.mark.django_db


@pytest.fixture
def meta(acme: Cast, settings: Any) -> Iterator[RunningSimulator]:
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


def test_it_reads_all_pages(
    acme: Cast, globex: Cast, meta: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "TEMPLATES_PER_PAGE", "3")
    listed = meta.world.accounts[0].templates

    report = sync(acme.workspace, now=datetime.now(UTC))

    assert report.added == len(listed) > 6
    assert in_catalogue(acme) == {(t.name, t.language): t.status for t in listed}
    assert in_catalogue(globex) == {}


def test_every_template_of_meta_can_be_filled(acme: Cast, meta: RunningSimulator) -> None:
    """Of templates without values nothing is wrong but that they are missing."""
    sync(acme.workspace, now=datetime.now(UTC))
    found = catalogue.find(
        tenant_id=acme.tenant.id, waba_id=acme.workspace.waba_id, name="welcome_message"
    )
    definition = catalogue.definition_of(found)

    assert problems(definition, read({"positional": ["John"]}), datetime.now(UTC)) == []
    assert wire("welcome_message", "en", definition, read({"positional": ["John"]})) == {
        "name": "welcome_message",
        "language": {"code": "en"},
        "components": [{"type": "body", "parameters": [{"type": "text", "text": "John"}]}],
    }
    for row in Template.objects.all():
        for problem in problems(catalogue.definition_of(row), read({}), datetime.now(UTC)):
            assert problem.code in ("WRONG_COUNT", "MISSING"), problem


def test_a_template_lives_and_dies(acme: Cast, meta: RunningSimulator) -> None:
    body = {"type": "BODY", "text": "Hello {{1}}, hi!", "example": {"body_text": [["Ada"]]}}
    ids = {"tenant_id": acme.tenant.id}
    draft = TemplateDraft("brand_new", "en", "UTILITY", (body,))

    made = management.create(
        **ids, workspace_id=acme.workspace.id, draft=draft, now=datetime.now(UTC)
    )
    sync(acme.workspace, now=datetime.now(UTC))
    made.refresh_from_db()
    assert made.components[0]["text"] == body["text"] and made.deleted_at is None

    management.delete(**ids, template_id=made.pk, all_languages=False, now=datetime.now(UTC))
    sync(acme.workspace, now=datetime.now(UTC))
    assert ("brand_new", "en") not in in_catalogue(acme)


def test_it_hands_on_metas_code_and_details(acme: Cast, meta: RunningSimulator) -> None:
    body = {"type": "BODY", "text": "Hello there, hi!"}
    taken = TemplateDraft("welcome_message", "en", "MARKETING", (body,))

    with pytest.raises(UnableToManage) as caught:
        management.create(
            tenant_id=acme.tenant.id,
            workspace_id=acme.workspace.id,
            draft=taken,
            now=datetime.now(UTC),
        )

    (refusal,) = caught.value.refusals
    assert (refusal.code, refusal.platform_code) == ("PLATFORM_REJECTED", 100)


def test_a_token_that_meta_does_not_know_changes_nothing(
    acme: Cast, meta: RunningSimulator
) -> None:
    sync(acme.workspace, now=datetime.now(UTC))
    before = in_catalogue(acme)
    secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="forged-token")

    with pytest.raises(Rejected) as caught:
        sync(acme.workspace, now=datetime.now(UTC))

    assert caught.value.code == 190
    assert in_catalogue(acme) == before
