from typing import Any

import pytest

from lib.masking import MASK
from templates_wa.events import TemplateEvent
from tests.whatsapp.reading import RECEIVED_AT, SENT_AT, WABA, only, read, tree

STATUS, QUALITY = "message_template_status_update", "message_template_quality_update"
COMPONENTS = "message_template_components_update"
CATEGORY, DETECTION = "template_category_update", "template_correct_category_detection"


@pytest.mark.parametrize(
    ("name", "change", "event", "reason", "details"),
    [
        ("template_approved", STATUS, "APPROVED", "NONE", {"category": "UTILITY"}),
        (
            "template_rejected",
            STATUS,
            "REJECTED",
            "INVALID_FORMAT",
            {
                "rejection_reason": "Variables are not numbered",
                "recommendation": f"Number them or call {MASK}",
            },
        ),
        (
            "template_disabled",
            STATUS,
            "DISABLED",
            None,
            {"disable_date": "2026-01-02T00:00:00+00:00"},
        ),
        (
            "template_locked",
            STATUS,
            "LOCKED",
            None,
            {"note_title": "First pause", "note": "Low quality"},
        ),
        ("template_quality", QUALITY, "YELLOW", None, {"previous_quality_score": "GREEN"}),
        (
            "template_quality_mislabelled",
            QUALITY,
            "RED",
            None,
            {"previous_quality_score": "GREEN"},
        ),
        (
            "template_components",
            COMPONENTS,
            "UPDATED",
            None,
            {
                "body": "Your order {{1}} is on its way",
                "title": "Order",
                "footer": "Reply STOP",
                "buttons": [{"type": "PHONE_NUMBER", "text": "Call us"}],
            },
        ),
        (
            "template_category_warning",
            CATEGORY,
            "MARKETING",
            None,
            {
                "new_category": "UTILITY",
                "correct_category": "MARKETING",
                "effective_at": "2026-01-02T00:00:00+00:00",
            },
        ),
        (
            "template_category_changed",
            CATEGORY,
            "MARKETING",
            None,
            {"previous_category": "UTILITY", "new_category": "MARKETING"},
        ),
        (
            "template_category_detected",
            DETECTION,
            "MARKETING",
            None,
            {"category": "UTILITY", "correct_category": "MARKETING"},
        ),
    ],
)
def test_it_reads_a_change_of_a_template(
    name: str, change: str, event: str, reason: str | None, details: dict[str, Any]
) -> None:
    assert only(name) == TemplateEvent(
        waba_id=WABA,
        change=change,
        event=event,
        template_id="1689556908129832001",
        name="order_update",
        language="en_US",
        reason=reason,
        details=details,
        occurred_at=SENT_AT,
    )


def test_it_takes_the_time_of_arrival_when_the_entry_has_none() -> None:
    body = tree("template_approved")
    del body["entry"][0]["time"]
    assert read(body)[0].events[0].occurred_at == RECEIVED_AT


def test_it_reads_the_old_name_of_the_field() -> None:
    body = tree("template_approved")
    body["entry"][0]["changes"][0]["field"] = "template_status_update"
    assert read(body)[0].events[0].change == STATUS
