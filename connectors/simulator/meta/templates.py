"""Message templates over the Graph API: list, create, edit, delete, and the review that follows.

https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-management
"""

from __future__ import annotations

import msgspec

from connectors.simulator.meta import reviews
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.fields import page, picked
from connectors.simulator.meta.http import SUCCESS, Answer, Call, answer
from connectors.simulator.meta.routes import Route, Table
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import Json, Template

USUAL = ("name", "parameter_format", "components", "language", "status", "category", "id")
FILTERS = ("name", "status", "category", "language", "quality_score")
MOST_LISTED = 1000
MOST_TEMPLATES = 6000
DAY = 24 * 3600.0
BLOCKED_FOR = 30 * DAY
EDITABLE = ("APPROVED", "REJECTED", "PAUSED")


def node(template: Template) -> Json:
    """Return every field of a template."""
    return {
        "id": template.id,
        "name": template.name,
        "language": template.language,
        "status": template.status,
        "category": template.category,
        "sub_category": None,
        "previous_category": template.previous_category or None,
        "correct_category": None,
        "parameter_format": template.parameter_format,
        "components": template.components,
        "quality_score": {"score": template.quality, "date": 1767225600},
        "rejected_reason": template.rejected_reason,
        "message_send_ttl_seconds": template.message_send_ttl_seconds,
        "cta_url_link_tracking_opted_out": None,
        "degrees_of_freedom_spec": None,
        "library_template_name": None,
    }


def _list(sim: Simulator, call: Call) -> Answer:
    account = call.account
    nodes = [node(template) for template in account.templates]
    for name in FILTERS:
        wanted = call.argument(name)
        if wanted:
            nodes = [found for found in nodes if _value(found, name) in _several(wanted)]
    text = call.argument("name_or_content").lower()
    nodes = [found for found in nodes if text in msgspec.json.encode(found).decode().lower()]
    asked = call.argument("fields")
    document = page(call, [picked(found, asked, USUAL) for found in nodes], most=MOST_LISTED)
    if call.argument("summary"):
        count = len(account.templates)
        document["summary"] = {
            "total_count": len(nodes), "message_template_count": count,
            "message_template_limit": MOST_TEMPLATES, "are_translations_complete": True,
        }  # fmt: skip
    return answer(document)


def _value(found: Json, name: str) -> str:
    value = found[name]
    return str(value["score"]) if isinstance(value, dict) else str(value)


def _several(wanted: str) -> list[str]:
    if not wanted.startswith("["):
        return wanted.split(",")
    try:
        return msgspec.json.decode(wanted, type=list[str])
    except msgspec.DecodeError:
        raise GraphError(100, title="A filter must be a value or a JSON array") from None


def _get(sim: Simulator, call: Call) -> Answer:
    return answer(picked(node(call.template), call.argument("fields"), USUAL))


def _create(sim: Simulator, call: Call) -> Answer:
    account, draft = call.account, reviews.draft_of(call)
    blocked_at = account.deleted.get(draft.name)
    if blocked_at is not None and sim.clock.now() - blocked_at < BLOCKED_FOR:
        raise GraphError(100, "New content cannot be added while the existing content is being "
                         "deleted. Try again in 4 weeks.", subcode=2388023)  # fmt: skip
    if sim.registry.template(account.id, draft.name, draft.language):
        raise GraphError(100, "There is already content in this language for this template.",
                         subcode=2388024)  # fmt: skip
    if len(account.templates) >= MOST_TEMPLATES:
        raise GraphError(100, "Message template limit exceeded.", subcode=2388019)
    draft.id = str(sim.rng.randrange(10**15, 10**16))
    account.templates.append(draft)
    sim.registry.index()
    reviews.begin(sim, account, draft)
    return answer({"id": draft.id, "status": draft.status, "category": draft.category})


def _edit(sim: Simulator, call: Call) -> Answer:
    account, template = call.account, call.template
    if template.status not in EDITABLE:
        raise GraphError(100, f"A template that is {template.status} cannot be edited.")
    category = call.argument("category")
    if template.status == "APPROVED":
        if category not in ("", template.category):
            raise GraphError(100, "The category of an approved template cannot be edited.")
        _count_edit(template, sim.clock.now())
    components = call.document.get("components")
    if components is not None:
        template.components = reviews.components_of(components, template.category)
    template.category = category or template.category
    reviews.begin(sim, account, template)
    return SUCCESS


def _count_edit(template: Template, now: float) -> None:
    recent = [at for at in template.edited_at if now - at < 30 * DAY]
    if len(recent) >= 10 or any(now - at < DAY for at in recent):
        raise GraphError(100, "An approved template can be edited once a day and 10 times in 30 "
                         "days.", subcode=2388028)  # fmt: skip
    template.edited_at = [*recent, now]


def _delete(sim: Simulator, call: Call) -> Answer:
    account = call.account
    name, ids = call.argument("name"), _several(call.argument("hsm_ids") or "")
    if call.argument("hsm_id"):
        ids = [call.argument("hsm_id")]
    ids = [template_id for template_id in ids if template_id]
    chosen = [t for t in account.templates if (t.id in ids if ids else t.name == name)]
    if not chosen or (ids and len(chosen) != len(ids)) or (not ids and not name):
        raise GraphError(100, "Message template not found.", subcode=2593002)
    if any(template.status == "DISABLED" for template in chosen):
        raise GraphError(100, "A disabled template cannot be deleted.")
    for template in chosen:
        if template.status == "APPROVED":
            account.deleted[template.name] = sim.clock.now()
    account.templates = [t for t in account.templates if t not in chosen]
    sim.registry.index()
    return SUCCESS


def _unpause(sim: Simulator, call: Call) -> Answer:
    account, template = call.account, call.template
    if template.status != "PAUSED":
        return answer({"success": False, "reason": "The template is not paused."})
    reviews.decide(sim, account, template, "APPROVED")
    return SUCCESS


NODE: Table = {
    ("GET", ""): Route(_get),
    ("POST", ""): Route(_edit),
    ("POST", "unpause"): Route(_unpause),
}
EDGE: Table = {
    ("GET", "message_templates"): Route(_list),
    ("POST", "message_templates"): Route(_create),
    ("DELETE", "message_templates"): Route(_delete),
}
