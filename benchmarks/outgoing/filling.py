"""The rows of pending messages; imported where Django is set up."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from benchmarks.outgoing.queued import CHUNK, EnqueuedSends, Order
from lib import bulk
from lib.envelope import associated_data
from lib.ids import uuid7
from messaging.delivery.queues import SENDS
from messaging.models import NumberState
from messaging.transitions import SEALED_REQUEST, NewSend, queue
from templates_wa.sync import sync
from workspaces import access, keys, provisioning, secrets
from workspaces.access import Scope
from workspaces.models import SecretKind, Tenant, Workspace

CONTACTS = """
INSERT INTO contacts (id, tenant_id, display_name, username)
SELECT r.id, r.tenant_id, '', '' FROM {rows}
"""


def fill(order: Order) -> EnqueuedSends:
    """Make what is missing and store the messages."""
    workspace = _workspace(order)
    now, tenant_id = datetime.now(UTC), workspace.tenant_id
    cipher = keys.field_cipher(tenant_id)
    for start in range(0, order.count, CHUNK):
        numbers = range(start, min(order.count, start + CHUNK))
        people = [(uuid7(), tenant_id) for _ in numbers]
        bulk.run(CONTACTS, ("id uuid", "tenant_id uuid"), people)
        rows = []
        for number, (contact_id, _) in zip(numbers, people, strict=True):
            message_id = uuid7()
            body = json.dumps(
                {
                    "messaging_product": "whatsapp",
                    "recipient_type": "individual",
                    "to": f"+{order.first_phone + number}",
                    "type": "text",
                    "text": {"body": "Hello"},
                    "biz_opaque_callback_data": str(message_id),
                }
            ).encode()
            sealed = cipher.seal(body, associated_data(tenant_id, SEALED_REQUEST, message_id))
            rows.append(
                NewSend(
                    id=message_id,
                    tenant_id=tenant_id,
                    workspace_id=workspace.id,
                    contact_id=contact_id,
                    type="text",
                    text="Hello",
                    content="{}",
                    reply_to=None,
                    timestamp_utc=now,
                    delivery=json.dumps({"queued_at": now.isoformat()}),
                    client_reference=None,
                    request_digest=None,
                    sealed_values=None,
                    template_id=None,
                    broadcast_id=None,
                    due_at=now,
                    expires_at=None,
                    sealed_request=sealed,
                )
            )
        queue(rows)
    if order.wakes:
        SENDS.notify()
    return EnqueuedSends(
        str(tenant_id), str(workspace.id), _api_key(workspace) if order.with_key else ""
    )


def _api_key(workspace: Workspace) -> str:
    """Read the templates at Meta, and make a key that may send them."""
    sync(workspace, now=datetime.now(UTC))
    return access.issue_api_key(tenant=workspace.tenant, name="benchmark", scopes=list(Scope))[1]


def _workspace(order: Order) -> Workspace:
    tenant = Tenant.objects.filter(slug=order.slug).first()
    if tenant is None:
        tenant = provisioning.create_tenant(slug=order.slug, name=order.slug)
    found = Workspace.objects.filter(tenant=tenant, external_id=order.phone_number_id).first()
    if found is not None:
        return found
    workspace = provisioning.create_workspace(
        tenant_id=tenant.id,
        name="sales",
        external_id=order.phone_number_id,
        waba_id=order.waba_id,
    )
    for kind, value in (
        (SecretKind.ACCESS_TOKEN, order.access_token),
        (SecretKind.APP_SECRET, order.app_secret),
    ):
        secrets.add(tenant=tenant, kind=kind, value=value)
    # A worker that runs already may have begun to ask about the number.
    NumberState.objects.update_or_create(
        workspace=workspace,
        defaults={"tenant_id": tenant.id, "throughput_level": order.throughput},
    )
    return workspace
