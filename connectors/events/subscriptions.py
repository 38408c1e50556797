"""Subscriptions of tenants' apps: made, changed, given a new secret, tried out, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from connectors.events import reach
from connectors.events.addresses import UnusableAddress
from connectors.events.delivering import policy
from connectors.events.refusals import EventErrorCode, UnableToSubscribe
from lib.ids import uuid7
from workspaces import event_secrets, event_types, outbox
from workspaces.event_secrets import SigningSecret
from workspaces.live import Item, Notice
from workspaces.models import EventSubscription

MOST_PER_TENANT = 20
# The newest signs with the ones before it, for as long as those live.
MOST_SECRETS = 4
MOST_HOURS = 168
MOST_DESCRIPTION = 200


class Created(NamedTuple):
    """A subscription with the secret that is shown this one time."""

    subscription: EventSubscription
    secret: str


class Changes(NamedTuple):
    """What to change; ``None`` leaves it as it is."""

    url: str | None = None
    types: Sequence[str] | None = None
    description: str | None = None
    is_active: bool | None = None


def find(*, tenant_id: UUID, subscription_id: UUID, lock: bool = False) -> EventSubscription:
    """Return a subscription of the tenant.

    Raises:
        UnableToSubscribe: there is none of his with this id.
    """
    rows = EventSubscription.objects.filter(tenant_id=tenant_id, pk=subscription_id)
    row = (rows.select_for_update() if lock else rows).first()
    if row is None:
        raise UnableToSubscribe(
            EventErrorCode.NOT_FOUND, "id", "There is no such subscription of yours."
        )
    return row


def create(*, tenant_id: UUID, url: str, types: Sequence[str], description: str) -> Created:
    """Subscribe a URL to events of these types, or to all.

    Raises:
        UnableToSubscribe: the input cannot be used, or there are too many already.
    """
    row = EventSubscription(
        id=uuid7(), tenant_id=tenant_id, url=_url(url), types=_types(types),
        description=_description(description),
    )  # fmt: skip
    secret = event_secrets.new()
    row.sealed_secrets = _seal(row, [secret])
    with transaction.atomic():
        _insist_on_room(tenant_id)
        row.save(force_insert=True)
        row.refresh_from_db(fields=["created_at"])
    return Created(row, secret.value)


def update(
    *, tenant_id: UUID, subscription_id: UUID, changes: Changes, now: datetime
) -> EventSubscription:
    """Change a subscription; to activate it makes an end of its rest, too.

    Raises:
        UnableToSubscribe: not found, or the input cannot be used.
    """
    url = None if changes.url is None else _url(changes.url)  # asks for a name: before the lock
    with transaction.atomic():
        row = find(tenant_id=tenant_id, subscription_id=subscription_id, lock=True)
        row.url = url or row.url
        if changes.types is not None:
            row.types = _types(changes.types)
        if changes.description is not None:
            row.description = _description(changes.description)
        if changes.is_active is not None:
            row.disabled_at = None if changes.is_active else row.disabled_at or now
        if url is not None or changes.is_active:
            row.failing_since = row.resting_until = None
        if row.disabled_at is None:
            row.disabled_reason = ""
        row.save()
        transaction.on_commit(_ring, robust=True)
    return row


def disable(*, ids: Sequence[UUID], reason: str, now: datetime) -> int:
    """Stop deliveries to these subscriptions; return how many were active."""
    rows = EventSubscription.objects.filter(pk__in=ids, disabled_at=None)
    return rows.update(disabled_at=now, disabled_reason=reason)


def delete(*, tenant_id: UUID, subscription_id: UUID) -> None:
    """Delete a subscription; what it is still owed is given up within minutes.

    Raises:
        UnableToSubscribe: not found.
    """
    find(tenant_id=tenant_id, subscription_id=subscription_id).delete()


def rotate(*, tenant_id: UUID, subscription_id: UUID, keep_hours: int, now: datetime) -> Created:
    """Make a new secret; the ones before it go on signing for ``keep_hours``.

    Raises:
        UnableToSubscribe: not found, or an impossible number of hours.
    """
    if not 0 <= keep_hours <= MOST_HOURS:
        raise UnableToSubscribe(
            EventErrorCode.INVALID_INPUT, "keepOldHours", f"Between 0 and {MOST_HOURS}."
        )
    with transaction.atomic():
        row = find(tenant_id=tenant_id, subscription_id=subscription_id, lock=True)
        end, newest = now + timedelta(hours=keep_hours), event_secrets.new()
        old = [
            SigningSecret(secret.value, min(secret.expires_at or end, end))
            for secret in _live(row, now)
        ]
        row.sealed_secrets = _seal(row, [newest, *old][:MOST_SECRETS])
        row.save(update_fields=["sealed_secrets"])
    return Created(row, newest.value)


def send_test(*, tenant_id: UUID, subscription_id: UUID, now: datetime) -> UUID:
    """Send an event to try the subscription out, whatever types it wants; return its id.

    Raises:
        UnableToSubscribe: not found, or disabled.
    """
    row = find(tenant_id=tenant_id, subscription_id=subscription_id)
    require_active(row)
    item = Item(uuid7(), event_types.TEST, now, {"subscription_id": str(row.id)})
    outbox.owe([Notice(tenant_id, item)], [outbox.Subscription(row.id, tenant_id, ())])
    return item.id


def require_active(row: EventSubscription) -> None:
    """Insist on a subscription that is delivered to.

    Raises:
        UnableToSubscribe: it is disabled.
    """
    if row.disabled_at is not None:
        raise UnableToSubscribe(
            EventErrorCode.DISABLED, "id", "The subscription is disabled; activate it first."
        )


def _insist_on_room(tenant_id: UUID) -> None:
    with connection.cursor() as cursor:  # nobody else of the tenant counts until the commit
        key = f"event_subscriptions:{tenant_id}"
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
    if EventSubscription.objects.filter(tenant_id=tenant_id).count() >= MOST_PER_TENANT:
        raise UnableToSubscribe(
            EventErrorCode.TOO_MANY, "url", f"A tenant has at most {MOST_PER_TENANT}."
        )


def _ring() -> None:
    outbox.BELL.ring()


def _live(row: EventSubscription, now: datetime) -> list[SigningSecret]:
    return event_secrets.live(
        bytes(row.sealed_secrets), tenant_id=row.tenant_id, subscription_id=row.id, now=now
    )


def _seal(row: EventSubscription, secrets: Sequence[SigningSecret]) -> bytes:
    return event_secrets.seal(secrets, tenant_id=row.tenant_id, subscription_id=row.id)


def _url(url: str) -> str:
    try:
        reach.check(url, policy())
    except UnusableAddress as error:
        raise UnableToSubscribe(EventErrorCode.INVALID_URL, "url", str(error)) from None
    return url


def _types(types: Sequence[str]) -> list[str]:
    for name in types:
        if name not in event_types.EVENT_TYPES:
            raise UnableToSubscribe(
                EventErrorCode.UNKNOWN_TYPE, "types",
                f"{name[:64]!r} is not a type of event; there are: "
                f"{', '.join(sorted(event_types.EVENT_TYPES))}.",
            )  # fmt: skip
    return sorted(set(types))


def _description(text: str) -> str:
    if len(text) > MOST_DESCRIPTION:
        raise UnableToSubscribe(
            EventErrorCode.INVALID_DESCRIPTION, "description",
            f"A description has at most {MOST_DESCRIPTION} characters.",
        )  # fmt: skip
    return text
