"""Updates and how Meta packs them into one callback.

Envelope: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from connectors.simulator.meta.world import Json


class Update(NamedTuple):
    """One update: an ``item`` of the list ``section`` of its number's value, or, without a section,
    the value itself. ``time`` (Unix seconds) is for those without a number.
    """

    waba_id: str
    field: str
    item: Json
    section: str = ""
    metadata: Json | None = None
    contact: Json | None = None
    time: int = 0

    @property
    def summary(self) -> str:
        """What it is in few words, for the log of deliveries."""
        what = self.item.get("status") or self.item.get("type") or self.item.get("event") or ""
        return f"{self.field} {what}".strip()

    @property
    def person(self) -> str:
        """Whom it tells of, empty for nobody."""
        names = ("from", "from_user_id", "recipient_id", "recipient_user_id")
        return next((str(self.item[name]) for name in names if self.item.get(name)), "")


def envelope(updates: Iterable[Update]) -> Json:
    """Return the document of one callback: an entry per account, a change per number and list."""
    entries: dict[str, Json] = {}
    changes: dict[tuple[str, str, str, str], Json] = {}
    for position, update in enumerate(updates):
        entry = entries.setdefault(update.waba_id, {"id": update.waba_id, "changes": []})
        if update.time:
            entry["time"] = update.time
        number = str((update.metadata or {}).get("phone_number_id", position))
        key = (update.waba_id, update.field, update.section, number)
        value = changes.get(key)
        if value is None:
            value = changes[key] = _value(update)
            listed = entry["changes"]
            assert isinstance(listed, list)  # noqa: S101 - made above
            listed.append({"value": value, "field": update.field})
        if update.section:
            _put(value, update)
    return {"object": "whatsapp_business_account", "entry": list(entries.values())}


def encode(document: Json) -> bytes:
    """Return the bytes as Meta writes them; the signature is made over exactly these.

    No spaces; characters beyond ASCII and slashes are escaped.
    """
    return json.dumps(document, separators=(",", ":")).replace("/", "\\/").encode()


def _value(update: Update) -> Json:
    if not update.section:
        return update.item
    return {"messaging_product": "whatsapp", "metadata": update.metadata}


def _put(value: Json, update: Update) -> None:
    if update.contact is not None:
        contacts = value.setdefault("contacts", [])
        if isinstance(contacts, list) and update.contact not in contacts:
            contacts.append(update.contact)
    items = value.setdefault(update.section, [])
    if isinstance(items, list):
        items.append(update.item)
