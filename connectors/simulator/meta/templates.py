"""Message templates over the Graph API: list, create, edit, delete, and the review that follows.

https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-management
https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-review
"""

from __future__ import annotations

import re
from functools import partial

import msgspec

from connectors.simulator.meta import examples
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import (
    SUCCESS,
    GraphCall,
    GraphRoute,
    HttpAnswer,
    Table,
    answer,
    page,
    picked,
)
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.template_checks import PLACEHOLDER
from connectors.simulator.meta.world import BusinessAccount, Json, SimulatedTemplate

USUAL = ("name", "parameter_format", "components", "language", "status", "category", "id")
FILTERS = ("name", "status", "category", "language", "quality_score")
MOST_LISTED = 1000
MOST_TEMPLATES = 6000
DAY = 24 * 3600.0
BLOCKED_FOR = 30 * DAY
EDITABLE = ("APPROVED", "REJECTED", "PAUSED")
NAME = re.compile(r"[a-z0-9_]{1,512}")
CATEGORIES = ("MARKETING", "UTILITY", "AUTHENTICATION")
FORMATS = ("POSITIONAL", "NAMED")
EDGE_VARIABLE = re.compile(r"^\s*\{\{|\}\}\s*$")
TYPES = (
    "HEADER",
    "BODY",
    "FOOTER",
    "BUTTONS",
    "CAROUSEL",
    "LIMITED_TIME_OFFER",
    "CALL_PERMISSION_REQUEST",
)
# A template whose name holds this is rejected, so that one can see it happen.
REJECTED = "reject"


def node(template: SimulatedTemplate) -> Json:
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


def _list(sim: Simulator, call: GraphCall) -> HttpAnswer:
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
            "total_count": len(nodes),
            "message_template_count": count,
            "message_template_limit": MOST_TEMPLATES,
            "are_translations_complete": True,
        }
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


def _get(sim: Simulator, call: GraphCall) -> HttpAnswer:
    return answer(picked(node(call.template), call.argument("fields"), USUAL))


def _create(sim: Simulator, call: GraphCall) -> HttpAnswer:
    account, draft = call.account, draft_of(call)
    blocked_at = account.deleted.get(draft.name)
    if blocked_at is not None and sim.clock.now() - blocked_at < BLOCKED_FOR:
        raise GraphError(
            100,
            "New content cannot be added while the existing content is being "
            "deleted. Try again in 4 weeks.",
            subcode=2388023,
        )
    if sim.registry.template(account.id, draft.name, draft.language):
        raise GraphError(
            100, "There is already content in this language for this template.", subcode=2388024
        )
    if len(account.templates) >= MOST_TEMPLATES:
        raise GraphError(100, "Message template limit exceeded.", subcode=2388019)
    draft.components = examples.check_headers(sim, call.app.id, draft.components)
    draft.id = str(sim.rng.randrange(10**15, 10**16))
    account.templates.append(draft)
    sim.registry.index()
    begin(sim, account, draft)
    return answer({"id": draft.id, "status": draft.status, "category": draft.category})


def _edit(sim: Simulator, call: GraphCall) -> HttpAnswer:
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
        found = components_of(components, template.category)
        template.components = examples.check_headers(sim, call.app.id, found)
    template.category = category or template.category
    begin(sim, account, template)
    return SUCCESS


def _count_edit(template: SimulatedTemplate, now: float) -> None:
    recent = [at for at in template.edited_at if now - at < 30 * DAY]
    if len(recent) >= 10 or any(now - at < DAY for at in recent):
        raise GraphError(
            100,
            "An approved template can be edited once a day and 10 times in 30 days.",
            subcode=2388028,
        )
    template.edited_at = [*recent, now]


def _delete(sim: Simulator, call: GraphCall) -> HttpAnswer:
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


def _unpause(sim: Simulator, call: GraphCall) -> HttpAnswer:
    account, template = call.account, call.template
    if template.status != "PAUSED":
        return answer({"success": False, "reason": "The template is not paused."})
    decide(sim, account, template, "APPROVED")
    return SUCCESS


def draft_of(call: GraphCall) -> SimulatedTemplate:
    """Return the template that a request describes, without an id.

    Raises:
        GraphError: 100, often with a subcode.
    """
    name, category = call.argument("name"), call.argument("category").upper()
    if NAME.fullmatch(name) is None:
        raise GraphError(100, "Param name must be lowercase letters, digits and underscores.")
    if category not in CATEGORIES:
        raise GraphError(100, f"Param category must be one of {{{', '.join(CATEGORIES)}}}.")
    if not call.argument("language"):
        raise GraphError(100, "The parameter language is required.")
    parameter_format = call.argument("parameter_format").upper() or "POSITIONAL"
    if parameter_format not in FORMATS:
        raise GraphError(100, f"Param parameter_format must be one of {{{', '.join(FORMATS)}}}.")
    ttl = call.document.get("message_send_ttl_seconds")
    return SimulatedTemplate(
        id="",
        name=name,
        language=call.argument("language"),
        category=category,
        status="PENDING",
        components=components_of(call.document.get("components"), category),
        parameter_format=parameter_format,
        message_send_ttl_seconds=ttl if isinstance(ttl, int) else None,
    )


def components_of(given: object, category: str) -> list[Json]:
    """Return components that Meta would review.

    Raises:
        GraphError: 100, often with a subcode.
    """
    if not isinstance(given, list) or not all(isinstance(part, dict) for part in given):
        raise GraphError(100, "Param components must be an array of objects.")
    kinds = [str(part.get("type", "")).upper() for part in given]
    if any(kind not in TYPES for kind in kinds) or len(set(kinds)) != len(kinds):
        raise GraphError(100, "Param components has an unknown type, or one of them twice.")
    if "BODY" not in kinds:
        raise GraphError(
            100, "Message template components needs a component of type BODY.", subcode=2388043
        )
    if category != "AUTHENTICATION":
        _check_body(str(given[kinds.index("BODY")].get("text", "")))
    return given


def _check_body(text: str) -> None:
    if not text:
        raise GraphError(100, "The body needs a text.", subcode=2388043)
    if len(text) > 1024:
        raise GraphError(100, "The body is longer than 1024 characters.", subcode=2388040)
    if EDGE_VARIABLE.search(text):
        raise GraphError(
            100, "Variables can't be at the start or end of the template.", subcode=2388299
        )
    if len(PLACEHOLDER.findall(text)) * 3 > len(text.split()):
        raise GraphError(
            100, "This template has too many variables for its length.", subcode=2388293
        )


def begin(sim: Simulator, account: BusinessAccount, template: SimulatedTemplate) -> None:
    """Put a template under review; the verdict comes as a webhook."""
    template.status = "PENDING"
    due = sim.clock.now() + sim.options.review_delay_ms / 1000
    verdict = "REJECTED" if REJECTED in template.name else "APPROVED"
    sim.agenda.at(due, partial(_conclude, sim, account, template, verdict))


def decide(
    sim: Simulator, account: BusinessAccount, template: SimulatedTemplate, status: str
) -> None:
    """Give a template a status and send a callback about it."""
    template.status = status
    template.rejected_reason = "INVALID_FORMAT" if status == "REJECTED" else "NONE"
    sim.emit_for_account(
        account,
        "message_template_status_update",
        {
            "event": status,
            **names(template),
            "reason": template.rejected_reason,
            "message_template_category": template.category,
        },
    )


def rate(
    sim: Simulator, account: BusinessAccount, template: SimulatedTemplate, quality: str
) -> None:
    """Give a template a quality and send a callback about it."""
    previous, template.quality = template.quality, quality
    sim.emit_for_account(
        account,
        "message_template_quality_update",
        {
            "previous_quality_score": previous,
            "new_quality_score": quality,
            **names(template),
        },
    )


def move(
    sim: Simulator, account: BusinessAccount, template: SimulatedTemplate, category: str
) -> None:
    """Put a template into another category and send a callback about it."""
    template.previous_category, template.category = template.category, category
    sim.emit_for_account(
        account,
        "template_category_update",
        {
            **names(template),
            "previous_category": template.previous_category,
            "new_category": category,
        },
    )


def names(template: SimulatedTemplate) -> Json:
    """Return what every update about a template has."""
    return {
        "message_template_id": int(template.id),
        "message_template_name": template.name,
        "message_template_language": template.language,
    }


def _conclude(
    sim: Simulator, account: BusinessAccount, template: SimulatedTemplate, verdict: str
) -> None:
    if template.status == "PENDING" and template in account.templates:
        decide(sim, account, template, verdict)


NODE: Table = {
    ("GET", ""): GraphRoute(_get),
    ("POST", ""): GraphRoute(_edit),
    ("POST", "unpause"): GraphRoute(_unpause),
}
EDGE: Table = {
    ("GET", "message_templates"): GraphRoute(_list),
    ("POST", "message_templates"): GraphRoute(_create),
    ("DELETE", "message_templates"): GraphRoute(_delete),
}
