"""The recorded callbacks, and short ways to read them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors.whatsapp.wire.parsing import parse
from connectors.whatsapp.wire.updates import Update
from messaging.events import IdentityChange

PAYLOADS = Path(__file__).parent.parent / "payloads"
NAMES = sorted(path.stem for path in PAYLOADS.glob("*.json"))

RECEIVED_AT = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SENT_AT = datetime(2026, 1, 1, tzinfo=UTC)

WABA = "102290129340398"
NUMBER = "106540352242922"
BUSINESS = "15550100001"
THANDI = "27000000101"
SIPHO = "27000000102"
THANDI_ID = "ZA.13491208655302741918"
SIPHO_ID = "ZA.99887766554433221100"


def payload(name: str) -> bytes:
    """Return the bytes of the recorded callback ``name``."""
    return (PAYLOADS / f"{name}.json").read_bytes()


def tree(name: str) -> Any:
    """Return the recorded callback ``name`` as JSON, to be changed by a test."""
    return json.loads(payload(name))


def value_of(body: Any) -> Any:
    """Return the value of the first change of a JSON body."""
    return body["entry"][0]["changes"][0]["value"]


def read(body: Any) -> list[Update]:
    """Return the updates of a JSON body."""
    return parse(json.dumps(body).encode(), RECEIVED_AT)


def events(name: str) -> list[Any]:
    """Return all events of the recorded callback ``name``."""
    return [event for update in parse(payload(name), RECEIVED_AT) for event in update.events]


def only(name: str) -> Any:
    """Return the one event of the recorded callback ``name``, besides what it tells of a person."""
    (event,) = (event for event in events(name) if not isinstance(event, IdentityChange))
    return event
