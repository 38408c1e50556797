"""Subscriptions of tenants' apps: create, change, rotate the secret, send a test event, delete."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from ipaddress import ip_address
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from connectors.events import outbox, signing_secrets
from connectors.events.addresses import UnusableAddress, policy
from connectors.events.models import EventSubscription
from connectors.events.outbox import EventItem, TenantEvent
from connectors.events.signing_secrets import SigningSecret
from lib.ids import uuid7
from workspaces.events import EVENT_TYPES, TEST

MAX_PER_TENANT = 20
# The newest signs with the ones before it, for as long as those live.
MAX_SECRETS = 4
MAX_HOURS = 168
MAX_DESCRIPTION = 200
RESOLVE_SECONDS = 3.0
# A name server that does not answer holds a thread for long; other names must not wait for it.
RESOLVER_THREADS = 32


class EventErrorCode(StrEnum):
    """Why something about event subscriptions was not done."""

    NOT_FOUND = "NOT_FOUND"
    INVALID_URL = "INVALID_URL"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    INVALID_DESCRIPTION = "INVALID_DESCRIPTION"
    INVALID_INPUT = "INVALID_INPUT"
    TOO_MANY = "TOO_MANY"
    DISABLED = "DISABLED"


CODE_DESCRIPTIONS = {
    "NOT_FOUND": "There is no such subscription of yours.",
    "INVALID_URL": "The URL cannot be used, or leads to no address of the public internet.",
    "UNKNOWN_TYPE": "There is no event of this type.",
    "INVALID_DESCRIPTION": "A description has at most 200 characters.",
    "INVALID_INPUT": "The input does not say what to do, or says it twice.",
    "TOO_MANY": "More than is allowed at once.",
    "DISABLED": "The subscription is disabled; activate it first.",
}


class UnableToSubscribe(Exception):
    """It was not done; ``field`` names the input at fault."""

    def __init__(self, code: EventErrorCode, field: str, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message


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
        UnableToSubscribe: the tenant has none with this id.
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
        id=uuid7(),
        tenant_id=tenant_id,
        url=_url(url),
        types=_types(types),
        description=_description(description),
    )
    secret = signing_secrets.new()
    row.sealed_secrets = _seal(row, [secret])
    with transaction.atomic():
        _require_room(tenant_id)
        row.save(force_insert=True)
        row.refresh_from_db(fields=["created_at"])
    return Created(row, secret.value)


def update(
    *, tenant_id: UUID, subscription_id: UUID, changes: Changes, now: datetime
) -> EventSubscription:
    """Change a subscription; activating it also ends its rest after failures.

    Raises:
        UnableToSubscribe: not found, or the input cannot be used.
    """
    url = None if changes.url is None else _url(changes.url)  # resolves a name: before the lock
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
        outbox.notify_on_commit()
    return row


def disable(*, ids: Sequence[UUID], reason: str, now: datetime) -> int:
    """Stop deliveries to these subscriptions; return how many were active."""
    rows = EventSubscription.objects.filter(pk__in=ids, disabled_at=None)
    return rows.update(disabled_at=now, disabled_reason=reason)


def delete(*, tenant_id: UUID, subscription_id: UUID) -> None:
    """Delete a subscription; its pending deliveries are given up within minutes.

    Raises:
        UnableToSubscribe: not found.
    """
    find(tenant_id=tenant_id, subscription_id=subscription_id).delete()


def rotate(*, tenant_id: UUID, subscription_id: UUID, keep_hours: int, now: datetime) -> Created:
    """Make a new secret; the ones before it sign too for ``keep_hours``.

    Raises:
        UnableToSubscribe: not found, or an impossible number of hours.
    """
    if not 0 <= keep_hours <= MAX_HOURS:
        raise UnableToSubscribe(
            EventErrorCode.INVALID_INPUT, "keepOldHours", f"Between 0 and {MAX_HOURS}."
        )
    with transaction.atomic():
        row = find(tenant_id=tenant_id, subscription_id=subscription_id, lock=True)
        end, newest = now + timedelta(hours=keep_hours), signing_secrets.new()
        old = [
            SigningSecret(secret.value, min(secret.expires_at or end, end))
            for secret in _live(row, now)
        ]
        row.sealed_secrets = _seal(row, [newest, *old][:MAX_SECRETS])
        row.save(update_fields=["sealed_secrets"])
    return Created(row, newest.value)


def send_test(*, tenant_id: UUID, subscription_id: UUID, now: datetime) -> UUID:
    """Send a test event, whatever types are subscribed to; return the event's id.

    Raises:
        UnableToSubscribe: not found, or disabled.
    """
    row = find(tenant_id=tenant_id, subscription_id=subscription_id)
    require_active(row)
    item = EventItem(uuid7(), TEST, now, {"subscription_id": str(row.id)})
    outbox.enqueue([TenantEvent(tenant_id, item)], [outbox.Subscriber(row.id, tenant_id, ())])
    return item.id


def require_active(row: EventSubscription) -> None:
    """Require a subscription that is delivered to.

    Raises:
        UnableToSubscribe: it is disabled.
    """
    if row.disabled_at is not None:
        raise UnableToSubscribe(
            EventErrorCode.DISABLED, "id", "The subscription is disabled; activate it first."
        )


def _require_room(tenant_id: UUID) -> None:
    with connection.cursor() as cursor:  # no other request of the tenant counts until the commit
        key = f"event_subscriptions:{tenant_id}"
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
    if EventSubscription.objects.filter(tenant_id=tenant_id).count() >= MAX_PER_TENANT:
        raise UnableToSubscribe(
            EventErrorCode.TOO_MANY, "url", f"A tenant has at most {MAX_PER_TENANT}."
        )


def _live(row: EventSubscription, now: datetime) -> list[SigningSecret]:
    return signing_secrets.live(
        bytes(row.sealed_secrets), tenant_id=row.tenant_id, subscription_id=row.id, now=now
    )


def _seal(row: EventSubscription, secrets: Sequence[SigningSecret]) -> bytes:
    return signing_secrets.seal(secrets, tenant_id=row.tenant_id, subscription_id=row.id)


def _url(url: str) -> str:
    try:
        _check_url(url)
    except UnusableAddress as error:
        raise UnableToSubscribe(EventErrorCode.INVALID_URL, "url", str(error)) from None
    return url


def _check_url(url: str) -> None:
    """Refuse a URL that no event could be delivered to: a clear error now, no failing deliveries.

    Its name is resolved here as well as before each delivery: the addresses may change.
    """
    allowed = policy()
    destination = allowed.check(url)
    if destination.address is not None:
        return
    host = destination.host
    addresses = _resolve(host, destination.port)
    if not any(allowed.permits(host, ip_address(address)) for address in addresses):
        raise UnusableAddress("The name leads to no address of the public internet.")


def _resolve(host: str, port: int) -> list[str]:
    asked = _executor().submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        return [str(info[4][0]).partition("%")[0] for info in asked.result(RESOLVE_SECONDS)]
    except (TimeoutError, OSError, UnicodeError):
        asked.cancel()  # nobody waits for it any more
        raise UnusableAddress("The name does not resolve.") from None


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")


def _types(types: Sequence[str]) -> list[str]:
    for name in types:
        if name not in EVENT_TYPES:
            known = ", ".join(sorted(EVENT_TYPES))
            message = f"{name[:64]!r} is not a type of event; there are: {known}."
            raise UnableToSubscribe(EventErrorCode.UNKNOWN_TYPE, "types", message)
    return sorted(set(types))


def _description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION:
        message = f"A description has at most {MAX_DESCRIPTION} characters."
        raise UnableToSubscribe(EventErrorCode.INVALID_DESCRIPTION, "description", message)
    return text
