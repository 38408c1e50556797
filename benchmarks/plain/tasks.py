"""The task: everything of one callback, through the ORM."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from celery import shared_task
from django.db import transaction

from benchmarks.plain.models import Contact, Message


@shared_task
def process(payload: dict[str, Any]) -> None:
    """Store the messages of a callback."""
    for entry in payload["entry"]:
        for change in entry["changes"]:
            value = change["value"]
            contacts = value.get("contacts") or [{}]
            for message in value.get("messages", ()):
                _store(message, contacts[0])


def _store(message: dict[str, Any], person: dict[str, Any]) -> None:
    identity = person.get("wa_id") or person.get("user_id") or ""
    digest = hashlib.sha256(identity.encode()).hexdigest()
    with transaction.atomic():
        contact, _ = Contact.objects.get_or_create(
            digest=digest, defaults={"name": person.get("profile", {}).get("name", "")}
        )
        Message.objects.get_or_create(
            wamid=message["id"],
            defaults={
                "contact": contact,
                "type": message["type"],
                "text": message.get("text", {}).get("body", ""),
                "timestamp": datetime.fromtimestamp(int(message["timestamp"]), UTC),
            },
        )
