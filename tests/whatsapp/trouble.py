"""Make trouble, and see where the updates ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection

from connectors.whatsapp import ledger
from connectors.whatsapp.models import WebhookDead

# Nobody's phone number id.
NUMBER = "300000000000003"
# A text that a table refuses while :func:`refused_by_the_database` lasts.
POISON = "The database shall refuse this"


def places(tenant_id: UUID) -> tuple[int, int, int]:
    """Return where the tenant's updates are: processed, quarantined, dead."""
    entry = ledger.read(tenant_id, verify=True)
    assert entry.balanced
    return entry.processed, entry.quarantined, entry.dead


def dead_rows() -> list[int]:
    return list(WebhookDead.objects.order_by("id").values_list("id", flat=True))


@contextmanager
def refused(condition: str) -> Iterator[None]:
    """For a while the real table refuses parked rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE webhook_dead ADD CONSTRAINT poison CHECK ({condition}) NOT VALID"
        )
        yield
        cursor.execute("ALTER TABLE webhook_dead DROP CONSTRAINT poison")


@contextmanager
def refused_by_the_database() -> Iterator[None]:
    """For a while the real table refuses messages with that text."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (text <> '{POISON}') NOT VALID"
        )
        yield
        cursor.execute("ALTER TABLE messages DROP CONSTRAINT no_poison")
