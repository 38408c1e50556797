"""From an account's callback about a message template to an event."""

from __future__ import annotations

from datetime import UTC, datetime

from connectors.whatsapp.wire.payloads import Scalar, Value
from connectors.whatsapp.wire.updates import Frame, Json, compact, happened, masked, moment
from lib.masking import conceal_tree, mask, word
from templates_wa.events import TemplateEvent

STATUS = "message_template_status_update"
QUALITY = "message_template_quality_update"
COMPONENTS = "message_template_components_update"
CATEGORY = "template_category_update"
DETECTION = "template_correct_category_detection"
_NEVER = datetime.max.replace(tzinfo=UTC)
_CANONICAL = frozenset((STATUS, QUALITY, COMPONENTS, CATEGORY, DETECTION))
FIELDS = _CANONICAL | {"template_status_update"}


def read_template_change(frame: Frame) -> TemplateEvent | None:
    """Return the change of a template that ``frame`` reports, or ``None`` if it reports none.

    What it is about is read off the keys, since Meta's own sample of a quality update carries the
    field name of a status update.
    """
    value = frame.value
    if frame.field not in FIELDS or value.message_template_id is None:
        return None
    change = _change(frame.field, value)
    return TemplateEvent(
        waba_id=frame.waba_id,
        change=change,
        event=_event(change, value),
        template_id=str(value.message_template_id),
        name=value.message_template_name or "",
        language=value.message_template_language or "",
        reason=mask(value.reason) if value.reason else None,
        details=conceal_tree(_details(value, change), None),
        occurred_at=happened(frame.entry_time, frame.received_at),
    )


def _change(field: str, value: Value) -> str:
    if value.new_quality_score is not None:
        return QUALITY
    if value.new_category is not None:
        return CATEGORY
    if value.correct_category is not None:
        return DETECTION
    if value.message_template_element is not None:
        return COMPONENTS
    return STATUS if value.event is not None or field not in _CANONICAL else field


def _event(change: str, value: Value) -> str:
    """Return the new value; a category warning (24 hours ahead) counts as what it announces."""
    new = {
        STATUS: value.event,
        QUALITY: value.new_quality_score,
        COMPONENTS: "UPDATED",
        CATEGORY: value.correct_category or value.new_category,
        DETECTION: value.correct_category,
    }[change]
    return word(new).upper()


def _details(value: Value, change: str) -> Json:
    return {
        COMPONENTS: _components,
        CATEGORY: _categories,
        DETECTION: _categories,
        QUALITY: _quality,
        STATUS: _status,
    }[change](value)


def _quality(value: Value) -> Json:
    return compact(previous_quality_score=value.previous_quality_score)


def _categories(value: Value) -> Json:
    """Return the categories; in a warning ``new_category`` is still the one in force."""
    return compact(
        previous_category=value.previous_category,
        new_category=value.new_category,
        correct_category=value.correct_category,
        category=value.category,
        effective_at=_when(value.category_update_timestamp),
    )


def _components(value: Value) -> Json:
    """Return the parts of the template; a button keeps its text and URL but no phone number."""
    buttons = [
        compact(
            type=button.message_template_button_type,
            text=button.message_template_button_text,
            url=button.message_template_button_url,
        )
        for button in value.message_template_buttons or ()
        if button is not None
    ]
    return compact(
        body=value.message_template_element,
        title=value.message_template_title,
        footer=value.message_template_footer,
        buttons=buttons or None,
    )


def _status(value: Value) -> Json:
    disabled, other, rejected = value.disable_info, value.other_info, value.rejection_info
    return compact(
        category=value.message_template_category,
        disable_date=_when(disabled.disable_date) if disabled else None,
        note_title=masked(other.title) if other else None,
        note=masked(other.description) if other else None,
        rejection_reason=masked(rejected.reason) if rejected else None,
        recommendation=masked(rejected.recommendation) if rejected else None,
    )


def _when(value: Scalar) -> str | None:
    """Return Unix seconds as ISO text, and the text that some samples have as it is."""
    at = moment(value, _NEVER)
    if at is not _NEVER:
        return at.isoformat()
    return value if isinstance(value, str) else None
