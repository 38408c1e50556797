"""A test that commits leaves what migrations made, and nothing else."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection

from tests import emptying
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text
from tests.workspaces.test_isolation import run

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_leaves_what_migrations_made(acme: Cast, globex: Cast) -> None:
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[text("wamid.1")]))
    tables = {*connection.introspection.django_table_names(), emptying.NOT_DJANGOS}
    assert _filled(tables) > emptying.KEPT | {"tenants", "tenant_keys", emptying.NOT_DJANGOS}

    call_command("flush", verbosity=0, interactive=False)

    assert _filled(tables) == emptying.KEPT
    models = {(model._meta.app_label, model._meta.model_name) for model in apps.get_models()}
    assert {kind.natural_key() for kind in ContentType.objects.all()} == models
    permitted = set(Permission.objects.values_list("content_type__model", flat=True))
    assert permitted == {name for _, name in models}


def _filled(tables: set[str]) -> set[str]:
    return {name for name in tables if run(f'SELECT 1 FROM "{name}" LIMIT 1')}  # noqa: S608
