"""One row of every kind for a tenant, as the connector would have stored them."""

from __future__ import annotations

from datetime import datetime

from connectors.events.models import EventDelivery, EventSubscription, OutgoingEvent
from connectors.linked_device.models import SenderSession, SessionLease
from connectors.whatsapp.models import WebhookDead, WebhookLedger, WebhookPending, WebhookUnhandled
from lib.ids import uuid7
from messaging.models import Broadcast, Contact, ContactIdentity, Media, Message, MessageStatus
from templates_wa.models import Template, TemplateEventRow, TemplateSync
from tests.conftest import Cast
from workspaces import identity, provisioning

SEALED = b"sealed-bytes-that-nobody-shows"


def store(cast: Cast, now: datetime) -> dict[str, object]:
    """Store them; return their keys by the name of their admin page."""
    return {
        **_messaging(cast, now),
        **_connectors(cast, now),
        **_events(cast),
        **_devices(cast),
        "workspaces_workspace": cast.workspace.pk,
    }


def message(cast: Cast, now: datetime, text: str = "") -> Message:
    """Store one message with a contact of its own."""
    tenant_id, name = cast.tenant.pk, cast.tenant.slug
    digests = identity.digester(tenant_id)
    contact = Contact.objects.create(tenant_id=tenant_id, display_name=f"Customer of {name}")
    ContactIdentity.objects.create(
        tenant_id=tenant_id, digest=digests.user(str(contact.pk)), kind="USER", contact=contact
    )
    return Message.objects.create(
        tenant_id=tenant_id,
        workspace=cast.workspace,
        contact=contact,
        platform_message_id=digests.wamid(str(uuid7())),
        direction="INBOUND",
        source="LIVE",
        type="text",
        text=text or f"Words for {name}",
        content={"for": name},
        timestamp_utc=now,
        sealed_id=SEALED,
    )


def _events(cast: Cast) -> dict[str, object]:
    subscription = EventSubscription.objects.create(
        tenant_id=cast.tenant.pk, url=f"https://{cast.tenant.slug}.example/", sealed_secrets=SEALED
    )
    event = OutgoingEvent.objects.create(
        tenant_id=cast.tenant.pk, type="message.received", occurred_at=subscription.created_at
    )
    delivery = EventDelivery.objects.create(
        tenant_id=cast.tenant.pk,
        event_id=event.pk,
        subscription_id=subscription.pk,
        next_attempt_at=subscription.created_at,
    )
    return {
        "events_eventsubscription": subscription.pk,
        "events_eventdelivery": delivery.pk,
    }


def _devices(cast: Cast) -> dict[str, object]:
    workspace = provisioning.create_workspace(
        tenant_id=cast.tenant.pk, name=f"Device of {cast.tenant.slug}", transport="LINKED_DEVICE"
    )
    session = SenderSession.objects.create(
        tenant_id=cast.tenant.pk,
        workspace=workspace,
        reason=f"For {cast.tenant.slug}",
        sealed_pairing=SEALED,
        sealed_pair_number=SEALED,
    )
    SessionLease.objects.create(
        session=session, tenant_id=cast.tenant.pk, host=f"host-of-{cast.tenant.slug}"
    )
    return {"linked_device_sendersession": session.pk}


def _messaging(cast: Cast, now: datetime) -> dict[str, object]:
    stored = message(cast, now)
    common = {"tenant_id": cast.tenant.pk, "workspace_id": cast.workspace.pk}
    status = MessageStatus.objects.create(
        **common,
        platform_message_id=stored.platform_message_id,
        status="delivered",
        timestamp_utc=now,
        recipient=stored.sender,
    )
    media = Media.objects.create(
        **common, message=stored, platform_media_id="1", filename=f"{cast.tenant.slug}.jpg"
    )
    broadcast = Broadcast.objects.create(
        **common, name=f"Broadcast of {cast.tenant.slug}", template_name="x", language="en"
    )
    template = Template.objects.create(
        tenant_id=cast.tenant.pk,
        waba_id=cast.workspace.waba_id,
        platform_template_id="1",
        name=f"template_of_{cast.tenant.slug}",
        language="en",
        status="APPROVED",
        quality="RED",
        components=[{"type": "BODY", "text": f"Hello {{{{1}}}} of {cast.tenant.slug}"}],
        synced_at=now,
    )
    sync = TemplateSync.objects.create(
        tenant_id=cast.tenant.pk, waba_id=cast.workspace.waba_id, error=f"For {cast.tenant.slug}"
    )
    event = TemplateEventRow.objects.create(
        tenant_id=cast.tenant.pk,
        waba_id=cast.workspace.waba_id,
        template_id="1",
        name=f"template_of_{cast.tenant.slug}",
        language="en",
        change="message_template_status_update",
        event="APPROVED",
        occurred_at=now,
        digest=SEALED,
    )
    return {
        "messaging_contact": stored.contact_id,
        "messaging_message": stored.pk,
        "messaging_messagestatus": status.pk,
        "messaging_media": media.pk,
        "messaging_broadcast": broadcast.pk,
        "templates_wa_template": template.pk,
        "templates_wa_templatesync": sync.pk,
        "templates_wa_templateeventrow": event.pk,
    }


def _connectors(cast: Cast, now: datetime) -> dict[str, object]:
    tenant_id = cast.tenant.pk
    pending = WebhookPending.objects.create(
        delivery_id=int(cast.workspace.external_id), received_at=now, tenant_id=tenant_id
    )
    dead = WebhookDead.objects.create(
        tenant_id=tenant_id,
        kind="DEAD",
        reason=f"Could not be stored for {cast.tenant.slug}",
        sealed=SEALED,
        delivery_id=1,
        received_at=now,
    )
    WebhookLedger.objects.create(tenant_id=tenant_id, updates=3, processed=2, dead=1)
    unhandled = WebhookUnhandled.objects.create(
        tenant_id=tenant_id, field=f"calls_{cast.tenant.slug}", kind="x", count=1
    )
    return {
        "whatsapp_webhookpending": pending.pk,
        "whatsapp_webhookdead": dead.pk,
        "whatsapp_webhookledger": tenant_id,
        "whatsapp_webhookunhandled": unhandled.pk,
    }
