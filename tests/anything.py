"""A row of every table that has tenants, so that no new table is forgotten by a test of all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from django.apps import apps
from django.contrib.auth.models import User
from django.db import models
from django.db.models.fields import NOT_PROVIDED

from connectors.linked_device.models import SenderSession
from lib.ids import uuid7
from messaging.models import Message
from tests.conftest import Cast

SAMPLES: dict[type[models.Field], object] = {
    models.BooleanField: False,
    models.BinaryField: b"sealed",
    models.DateTimeField: datetime(2026, 3, 1, tzinfo=UTC),
    models.DateField: datetime(2026, 3, 1, tzinfo=UTC).date(),
    models.IntegerField: 1,
}


def with_tenants() -> Iterator[type[models.Model]]:
    """Yield every model whose rows belong to a tenant."""
    for model in apps.get_models():
        if any(field.attname == "tenant_id" for field in model._meta.concrete_fields):
            yield model


def fill(cast: Cast) -> None:
    """Give the tenant a row in each of their tables in which it has none yet."""
    for model in with_tenants():
        rows = model._default_manager.filter(tenant_id=cast.tenant.pk)
        if not rows.exists():
            rows.create(**dict(_values(model, cast)))


def _values(model: type[models.Model], cast: Cast) -> Iterator[tuple[str, object]]:
    for field in model._meta.concrete_fields:
        optional = field.null or field.has_default() or field.db_default is not NOT_PROVIDED
        optional &= field.attname != "next_attempt_at"  # an event's delivery is pending, or ended
        if field.attname == "tenant_id" or not (optional or isinstance(field, models.AutoField)):
            yield field.attname, _sample(field, cast)


def _message_of(cast: Cast) -> UUID:
    found = Message.objects.filter(tenant_id=cast.tenant.pk, media=None, pending=None).first()
    return found.pk if found else uuid7()


def _sample(field: models.Field, cast: Cast) -> object:
    known = {
        "tenant_id": lambda: cast.tenant.pk,
        "workspace_id": lambda: cast.workspace.pk,
        "secret_id": lambda: cast.tenant.secrets.values_list("pk", flat=True).first(),
        "session_id": lambda: (
            SenderSession.objects.get_or_create(
                workspace=cast.workspace, defaults={"tenant_id": cast.tenant.pk}
            )[0].pk
        ),
        "message_id": lambda: _message_of(cast),
        "user_id": lambda: User.objects.create_user(f"member-of-{cast.tenant.slug}").pk,
    }
    if field.attname in known:
        return known[field.attname]()
    if isinstance(field, models.UUIDField):
        return uuid7()
    if field.choices:
        return field.choices[0][0]
    samples = (value for kind, value in SAMPLES.items() if isinstance(field, kind))
    return next(samples, f"{field.name[:8]}-{cast.tenant.slug}")
