"""What Meta reports about message templates, in our words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TemplateEvent:
    """One change of a message template (status, quality, category or components).

    ``waba_id`` is the WhatsApp Business Account that owns the template; ``change`` is Meta's field
    name (``message_template_status_update`` …), ``event`` its new value (``APPROVED``, ``GREEN``
    …). ``template_id`` is text because Meta's ids exceed 2**53.
    """

    waba_id: str
    change: str
    event: str
    template_id: str
    name: str
    language: str
    reason: str | None
    details: dict[str, object]
    occurred_at: datetime
