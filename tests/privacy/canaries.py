"""Numbers that must not be found again, planted wherever a callback can hold one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, text

PAYLOADS = Path(__file__).parents[1] / "payloads"
# What the recorded callbacks call their people and their business.
PEOPLE = re.compile(r"27([ -]?)000([ -]?)000([ -]?)1(\d\d)")
NUMBER_ID, WABA_ID = "106540352242922", "102290129340398"
WAMID = re.compile(r"(?<=wamid\.)[A-Za-z0-9+/]{16,}={0,2}")

PHONE = "27831234567"
SPELLINGS = (
    PHONE,
    "+27831234567",
    "+27 83 123 4567",
    "+27-83-123-4567",
    "+27 (83) 123-4567",
    "27.83.1234567",
    "0831234567",
    "083 123 4567",
    "0027 83 123 4567",
)
# Those who are written to, and the business itself: a digit more makes it one of ten.
SENT_TO = "84317550"
# What is looked for: the number at home without its zero, and how all of them begin.
TAILS = ("831234567", "278312345")


def person(number: int) -> str:
    """Return the digits of one of ten who are written to."""
    return f"27{SENT_TO}{number}"


def accepted(digits: str) -> tuple[str, ...]:
    """Return the ways to write a South African number that sending takes."""
    area, first, last = digits[2:4], digits[4:7], digits[7:]
    return (
        f"+{digits}",
        f"+27 {area} {first} {last}",
        f"+27-{area}-{first}-{last}",
        f"+27 ({area}) {first}-{last}",
        f"+27.{area}.{first}{last}",
    )


def refused(digits: str) -> tuple[str, ...]:
    """Return the ways that sending refuses."""
    home = f"0{digits[2:]}"
    spaced = f"0{digits[2:4]} {digits[4:7]} {digits[7:]}"
    return digits, home, spaced, f"0027 {spaced[1:]}", f"+{digits} ext. 4", f"tel:+{digits}"


def wamid_of(phone: str) -> str:
    """Return a message id as Meta makes them: the digits of the user, in base64."""
    return "wamid." + base64.b64encode(b"\x1c\x15\x0b" + phone.encode() + b"\x15\x02\x00").decode()


def recorded() -> Iterator[str]:
    """Yield every recorded callback, its people being canaries, inside message ids too."""
    for path in sorted(PAYLOADS.glob("*.json")):
        yield WAMID.sub(_again, PEOPLE.sub(_planted, path.read_text()))


def for_cast(document: str, cast: Cast) -> str:
    """Return a recorded callback as if it were for this tenant."""
    mine = document.replace(NUMBER_ID, cast.workspace.external_id)
    return mine.replace(WABA_ID, cast.workspace.waba_id)


def _planted(found: re.Match[str]) -> str:
    first, second, third, last = found.groups()
    return f"27{first}831{second}234{third}5{last}"


def _again(found: re.Match[str]) -> str:
    decoded = base64.b64decode(found[0])
    again = PEOPLE.sub(_planted, decoded.decode("latin-1")).encode("latin-1")
    return base64.b64encode(again).decode()


def planted(number: str, waba_id: str) -> Iterator[dict]:
    """Yield callbacks that hold a canary, in every spelling, in every place but a typed text."""
    for position, spelling in enumerate(SPELLINGS):
        wamid = wamid_of(f"{PHONE}{position}")
        for message in _messages(spelling, wamid):
            card = {
                "profile": {"name": f"Al {spelling}", "username": f"al.{spelling}"},
                "wa_id": PHONE,
            }
            yield callback(number, waba_id, messages=[message], contacts=[card])
        for receipt in _statuses(spelling, wamid):
            yield callback(number, waba_id, statuses=[receipt])
        for field, value in _others(spelling, wamid):
            yield callback(number, waba_id, field, **value)


def _messages(spelling: str, wamid: str) -> Iterator[dict]:
    errors = [_error(spelling)]
    bodies = {
        "system": {
            "body": f"User changed from {spelling} to +{PHONE}",
            "type": "user_changed_number",
            "wa_id": spelling,
            "new_wa_id": spelling,
        },
        "contacts": [
            {
                "name": {"formatted_name": spelling, "first_name": f"Al {spelling}"},
                "phones": [{"phone": spelling, "wa_id": PHONE}],
                "org": {"company": f"Call {spelling}", "title": spelling},
                "emails": [{"email": f"{spelling}@example.org"}],
                "urls": [{"url": f"https://wa.me/{spelling}"}],
                "addresses": [{"street": spelling}],
                "vcard": f"BEGIN:VCARD\nTEL;waid={PHONE}:{spelling}\nEND:VCARD",
            }
        ],
        "document": {"id": "7", "mime_type": "text/plain", "filename": f"Chat with {spelling}.txt"},
        "interactive": {
            "type": "nfm_reply",
            "nfm_reply": {
                "name": "flow",
                "body": "Sent",
                "response_json": json.dumps({"phone": spelling, spelling: [int(PHONE)]}),
            },
        },
        "unsupported": {"type": f"poll {spelling}"},
        f"kind {spelling}": {"number": spelling},
        "order": {
            "catalog_id": "c",
            "product_items": [
                {"product_retailer_id": f"sku +{PHONE}", spelling: [int(PHONE), spelling]}
            ],
        },
        "button": {"payload": f"to:{spelling}", "text": spelling},
        "location": {"latitude": "-25.7", "longitude": 1, "name": spelling, "address": spelling},
    }
    for number, (kind, body) in enumerate(bodies.items()):
        plain = {**text(f"{wamid}{number}", sender=PHONE), "type": kind, kind: body}
        del plain["text"]
        yield {**plain, "errors": errors, "group_id": f"{PHONE}-1600000000@g.us"}
    for kind in ("button_reply", "list_reply"):
        answer = {"id": spelling, "title": f"Call {spelling}", "description": spelling}
        chosen = {"type": kind, kind: answer}
        yield {
            **text(f"{wamid}{kind[0]}", sender=PHONE),
            "type": "interactive",
            "interactive": chosen,
        }
    product = {"catalog_id": spelling, "product_retailer_id": spelling}
    context = {"from": spelling, "id": wamid_of(PHONE), "referred_product": product}
    referral = {
        "source_url": f"https://fb.me/{wamid}",
        "headline": f"Call +{PHONE}",
        "welcome_message": {"text": spelling},
        "ref": {spelling: spelling},
    }
    yield {**text(f"{wamid}c", sender=spelling), "context": context, "referral": referral}
    yield {**text(f"{wamid}d", sender="US.1"), "from_logical_id": spelling, "identity": spelling}


def _error(spelling: str) -> dict:
    details = f"Recipient {spelling} of {wamid_of(PHONE)} is not there"
    return {
        "code": 131026,
        "title": details,
        "message": details,
        "error_data": {"details": details},
    }


def _statuses(spelling: str, wamid: str) -> Iterator[dict]:
    receipt = {"id": wamid, "timestamp": "1790000000", "recipient_id": spelling}
    yield {**receipt, "status": "failed", "errors": [_error(spelling)]}
    yield {**receipt, "status": f"word {spelling}"}
    yield {**receipt, "status": "sent", "biz_opaque_callback_data": f"to:{spelling} {wamid}"}
    yield {
        **receipt,
        "status": "read",
        "recipient_type": "group",
        "recipient_participant_id": spelling,
    }
    transaction = {"id": spelling, "error": {"reason": f"Call {spelling}"}, spelling: [spelling]}
    payment = {"reference_id": f"{spelling}:7", "transaction": transaction}
    yield {**receipt, "status": "captured", "type": "payment", "payment": payment}
    pricing = {"category": spelling, "type": spelling}
    yield {**receipt, "status": "delivered", "conversation": {"id": spelling}, "pricing": pricing}


def _others(spelling: str, wamid: str) -> Iterator[tuple[str, dict]]:
    said = {**text(f"{wamid}h", sender="15550100001"), "to": spelling}
    context = {"wa_id": spelling, "username": f"@al.{spelling}"}
    thread = {"id": spelling, "messages": [said], "context": context}
    yield "smb_message_echoes", {"message_echoes": [{**said, "id": f"{wamid}e"}]}
    yield "history", {"history": [{"metadata": {"phase": 0}, "threads": [thread]}]}
    yield "history", {"history": [{"errors": [_error(spelling)]}]}
    contact = {
        "phone_number": spelling,
        "full_name": f"Thandi {spelling}",
        "username": f"@al.{spelling}",
    }
    for who in (contact, {**contact, "user_id": "ZA.2", "full_name": "", "first_name": spelling}):
        yield "smb_app_state_sync", {"state_sync": [{"contact": who, "action": "add"}]}
    yield "user_preferences", {"user_preferences": [{"wa_id": spelling, "category": spelling}]}
    yield "calls", {"calls": [{"id": f"wacid.{wamid[6:]}", "from": spelling, "event": spelling}]}
    yield "messages", {"errors": [_error(spelling)]}
    yield f"field {spelling}", {"anything": {spelling: spelling}}
    yield (
        "message_template_status_update",
        {
            "event": "REJECTED",
            "reason": f"Call {spelling}",
            "message_template_id": 5,
            "message_template_name": "n",
            "message_template_language": "en",
            "rejection_info": {"reason": f"Call {spelling}", "recommendation": f"+{PHONE}"},
        },
    )
