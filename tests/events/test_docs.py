"""The document for tenants' developers is true."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from connectors.events import signing_secrets
from connectors.events.attempts import DELAYS, headers_of
from workspaces.events import EVENT_TYPES

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "events.md").read_text(encoding="utf-8")


def catalogue() -> str:
    """Return the rows of the table of types."""
    return "\n".join(
        f"| `{name}` | {kind.description} | "
        + "; ".join(f"`{field}`: {meaning}" for field, meaning in kind.data.items())
        + " |"
        for name, kind in EVENT_TYPES.items()
    )


def test_it_lists_every_type_with_its_data() -> None:
    assert catalogue() in DOCUMENT


def test_it_names_the_times_of_all_attempts() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    (line,) = re.findall(r"After the first attempt: (.*?), each", DOCUMENT, re.DOTALL)
    said = [int(n) * units[unit] for n, unit in re.findall(r"(\d+) (s|min|h)\b", line)]

    assert said == [delay.total_seconds() for delay in DELAYS]


def test_the_verification_without_a_library_works() -> None:
    (code,) = re.findall(r"```python\n(import base64.*?)```", DOCUMENT, re.DOTALL)
    scope: dict[str, object] = {}
    exec(code, scope)  # noqa: S102 - of our own document
    is_genuine, body = scope["is_genuine"], b'{"type":"event.test"}'
    old, new, other = (signing_secrets.new().value for _ in range(3))
    signed = headers_of(event_id=uuid4(), body=body, secrets=[new, old], now=datetime.now(UTC))

    assert is_genuine(old, signed, body) and is_genuine(new, signed, body)
    assert not is_genuine(other, signed, body)
    assert not is_genuine(old, signed, body + b" ")
    late = {**signed, "webhook-timestamp": str(int(time.time()) - 301)}
    assert not is_genuine(old, late, body)
