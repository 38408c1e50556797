"""Apps: where their callbacks go, and the uploads that templates take their examples from."""

from __future__ import annotations

import secrets

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.handshake import override
from connectors.simulator.meta.http import Answer, Call, answer
from connectors.simulator.meta.routes import Answered, Route, Table
from connectors.simulator.meta.simulator import Simulator


def _get(sim: Simulator, call: Call) -> Answer:
    return answer({"id": call.app.id, "name": call.app.name})


def _subscriptions(sim: Simulator, call: Call) -> Answer:
    subscription = {
        "object": "whatsapp_business_account", "callback_url": call.app.callback_url,
        "active": True, "fields": [{"name": "messages", "version": call.request.version}],
    }  # fmt: skip
    return answer({"data": [subscription] if call.app.callback_url else []})


def _subscribe(sim: Simulator, call: Call) -> Answered:
    if call.argument("object") != "whatsapp_business_account":
        raise GraphError(100, title="Param object must be one of {whatsapp_business_account}")
    return override(call.app, call.argument("callback_url"), call.argument("verify_token"))


def _open_upload(sim: Simulator, call: Call) -> Answer:
    if not call.argument("file_type") or not call.argument("file_length"):
        raise GraphError(100, title="The parameters file_length and file_type are required")
    return answer({"id": f"upload:{secrets.token_urlsafe(24)}"})


def _upload(sim: Simulator, call: Call) -> Answer:
    return answer({"h": f"4::{secrets.token_urlsafe(48)}"})


# An app token has no permissions and needs none for its own app.
TABLE: Table = {
    ("GET", ""): Route(_get, ""),
    ("GET", "subscriptions"): Route(_subscriptions, ""),
    ("POST", "subscriptions"): Route(_subscribe, ""),
    ("POST", "uploads"): Route(_open_upload, ""),
    ("POST", ""): Route(_upload, ""),
}
