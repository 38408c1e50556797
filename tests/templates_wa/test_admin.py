"""The catalogue in the admin, and the button that has it read again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from templates_wa.models import Template, TemplateSync
from templates_wa.sync import sync
from tests.conftest import Cast
from tests.people import list_of, member, page_of
from tests.templates_wa.account import Platform, fact, in_catalogue
from workspaces.channel_errors import Unavailable
from workspaces.models import Role


@pytest.fixture
def synced(acme: Cast, globex: Cast, platform: Platform, now: datetime) -> Template:
    """Return acme's template; globex has one too."""
    for cast in (acme, globex):
        platform.accounts[cast.workspace.waba_id] = [fact(quality="YELLOW")]
        sync(cast.workspace, now=now)
    return Template.objects.get(tenant_id=acme.tenant.id)


def press(client: Client, model: str) -> int:
    """Press the button for every row there is; return the answer's status."""
    rows = Template.objects if model == "templates_wa_template" else TemplateSync.objects
    chosen = [str(pk) for pk in rows.values_list("pk", flat=True)]
    form = {"action": "sync_now", "_selected_action": chosen}
    return client.post(list_of(model), form).status_code


def test_it_shows_what_people_see(acme: Cast, synced: Template) -> None:
    page = member(acme.tenant, Role.VIEWER).get(page_of("templates_wa_template", synced.pk))

    shown = page.content.decode()
    assert "Hello {{1}}!" in shown and "YELLOW" in shown


@pytest.mark.parametrize("model", ["templates_wa_template", "templates_wa_templatesync"])
def test_a_manager_has_his_own_accounts_read(
    acme: Cast, globex: Cast, synced: Template, woken: Callable[[], int], model: str
) -> None:
    TemplateSync.objects.update(synced_at=None)
    before = dict(TemplateSync.objects.values_list("tenant_id", "due_at"))

    press(member(acme.tenant), model)

    after = dict(TemplateSync.objects.values_list("tenant_id", "due_at"))
    assert after[acme.tenant.id] < before[acme.tenant.id]
    assert after[globex.tenant.id] == before[globex.tenant.id]


def test_a_viewer_has_no_button(acme: Cast, synced: Template) -> None:
    before = TemplateSync.objects.get(tenant_id=acme.tenant.id).due_at

    press(member(acme.tenant, Role.VIEWER), "templates_wa_template")

    assert TemplateSync.objects.get(tenant_id=acme.tenant.id).due_at == before


def test_the_command_reads_one_tenant_or_all(acme: Cast, globex: Cast, platform: Platform) -> None:
    platform.accounts = {acme.workspace.waba_id: [fact()], globex.workspace.waba_id: [fact()]}
    out = StringIO()

    call_command("sync_templates", "--tenant", "acme", stdout=out)
    assert "1 added, 0 changed, 0 removed, 0 as they were" in out.getvalue()
    assert (len(in_catalogue(acme)), len(in_catalogue(globex))) == (1, 0)
    call_command("sync_templates", stdout=out)
    assert len(in_catalogue(globex)) == 1


def test_the_command_says_what_failed(acme: Cast, platform: Platform) -> None:
    platform.error = Unavailable("Meta is away.", code=2)
    out = StringIO()

    with pytest.raises(CommandError, match="1 accounts could not be read"):
        call_command("sync_templates", "--tenant", "acme", stdout=out)

    assert "Meta is away. (code 2)" in out.getvalue()
    with pytest.raises(CommandError, match="no tenant"):
        call_command("sync_templates", "--tenant", "hooli", stdout=out)
