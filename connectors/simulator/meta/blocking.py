"""People whom a number has blocked: they cannot write to it, nor be written to by it.

https://developers.facebook.com/documentation/business-messaging/whatsapp/block-users
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.simulator.meta.failures import GraphError, webhook_error
from connectors.simulator.meta.fields import page
from connectors.simulator.meta.http import Answer, Call, answer
from connectors.simulator.meta.recipients import Recipient, recipient_of
from connectors.simulator.meta.routes import MESSAGING, Route, Table
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import Json

MOST_AT_ONCE = 1_000
MOST = 64_000
# Meta's codes: somebody could not be blocked, and the list is full.
IN_PART, FULL = 139100, 139101
RE_ENGAGEMENT = 131047


def _list(sim: Simulator, call: Call) -> Answer:
    return answer(page(call, [_listed(key) for key in call.number.blocked]))


def _block(sim: Simulator, call: Call) -> Answer:
    """Block people who wrote within the last 24 hours; the others are named as failed."""
    number = call.number

    def refusal(who: Recipient) -> int | None:
        if who.key in number.blocked:
            return None
        if len(number.blocked) >= MOST:
            return FULL
        if not sim.is_window_open(number.id, who.key):
            return RE_ENGAGEMENT
        number.blocked = [*number.blocked, who.key]
        return None

    return _each(call, "added_users", refusal)


def _unblock(sim: Simulator, call: Call) -> Answer:
    number = call.number

    def refusal(who: Recipient) -> int | None:
        number.blocked = [key for key in number.blocked if key != who.key]
        return None

    return _each(call, "removed_users", refusal)


def _each(call: Call, done: str, refusal: Callable[[Recipient], int | None]) -> Answer:
    """Answer 200 if everybody is done, else 400 with both lists beside the error."""
    succeeded: list[Json] = []
    failed: list[Json] = []
    for who in _people(call):
        code = refusal(who)
        if code is None:
            succeeded.append(who.contact())
        else:
            failed.append({**who.contact(), "errors": [webhook_error(code)]})
    users: Json = {done: succeeded}
    document: Json = {"messaging_product": "whatsapp", "block_users": users}
    if not failed:
        return answer(document)
    error = GraphError(IN_PART, "Some of the users could not be blocked or unblocked.")
    users["failed_users"] = failed
    return answer({**document, **error.envelope()}, error.status)


def _people(call: Call) -> list[Recipient]:
    entries = call.document.get("block_users")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_AT_ONCE:
        raise GraphError(100, f"Param block_users must hold 1 to {MOST_AT_ONCE} users.")
    people = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise GraphError(100, "Param block_users must hold objects with user or user_id.")
        names = {"to": entry.get("user"), "recipient": entry.get("user_id")}
        people.append(recipient_of({k: v for k, v in names.items() if v is not None}))
    if any(".ENT." in who.user_id for who in people):
        raise GraphError(100, "A parent business-scoped user ID cannot be blocked.")
    return people


def _listed(key: str) -> Json:
    name = "wa_id" if key.isdigit() else "user_id"
    # Meta's page shows no "input" here; pywa reads one.
    return {"messaging_product": "whatsapp", name: key, "input": key}


EDGE: Table = {
    ("GET", "block_users"): Route(_list, MESSAGING),
    ("POST", "block_users"): Route(_block, MESSAGING),
    ("DELETE", "block_users"): Route(_unblock, MESSAGING),
}
