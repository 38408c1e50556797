"""The file that tells scripts and newcomers everything about the demo tenant."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from lib.files import write_private

FILE_NAME = "demo.json"


@dataclass(frozen=True, slots=True)
class DemoFacts:
    """The content of ``demo.json``; every secret in it was generated on this installation."""

    base_url: str
    callback_url: str
    tenant_id: str
    tenant_slug: str
    workspace_id: str
    phone_number_id: str
    waba_id: str
    app_secret: str = field(repr=False)
    verify_token: str = field(repr=False)
    api_key: str = field(repr=False)
    admin_url: str
    admin_user: str
    admin_password: str = field(repr=False)
    sender_url: str
    # Empty where sends go to Meta itself: no token was made up for that.
    access_token: str = field(default="", repr=False)
    graph_url: str = ""
    simulator_url: str = ""
    # What a file of an earlier version lacks is made when the demo is next completed.
    sender_key: str = field(default="", repr=False)
    device_workspace_id: str = ""


def read(home: Path) -> DemoFacts | None:
    """Return the facts kept in ``home``, or ``None`` where they are lost or damaged."""
    try:
        document = json.loads((home / FILE_NAME).read_text(encoding="utf-8"))
        # A file of an earlier version lacks what was added since.
        known = {f.name: f.default for f in fields(DemoFacts) if f.default == ""} | document
        return DemoFacts(**{name.name: str(known[name.name]) for name in fields(DemoFacts)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(home: Path, facts: DemoFacts) -> Path:
    """Store the facts, mode 0600; return in which file."""
    path = home / FILE_NAME
    write_private(path, json.dumps(asdict(facts), indent=2) + "\n")
    return path
