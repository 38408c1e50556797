"""What a new template must look like, and the review that approves or rejects it.

https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-review
"""

from __future__ import annotations

import re
from functools import partial

from connectors.simulator.meta.button_checks import PLACEHOLDER
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import Call
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import Account, Json, Template

NAME = re.compile(r"[a-z0-9_]{1,512}")
CATEGORIES = ("MARKETING", "UTILITY", "AUTHENTICATION")
FORMATS = ("POSITIONAL", "NAMED")
EDGE_VARIABLE = re.compile(r"^\s*\{\{|\}\}\s*$")
TYPES = ("HEADER", "BODY", "FOOTER", "BUTTONS", "CAROUSEL", "LIMITED_TIME_OFFER",
         "CALL_PERMISSION_REQUEST")  # fmt: skip
# A template whose name holds this is rejected, so that one can see it happen.
REJECTED = "reject"


def draft_of(call: Call) -> Template:
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
    return Template(
        id="", name=name, language=call.argument("language"), category=category, status="PENDING",
        components=components_of(call.document.get("components"), category),
        parameter_format=parameter_format,
        message_send_ttl_seconds=ttl if isinstance(ttl, int) else None,
    )  # fmt: skip


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
        raise GraphError(100, "Message template components needs a component of type BODY.",
                         subcode=2388043)  # fmt: skip
    if category != "AUTHENTICATION":
        _check_body(str(given[kinds.index("BODY")].get("text", "")))
    return given


def _check_body(text: str) -> None:
    if not text:
        raise GraphError(100, "The body needs a text.", subcode=2388043)
    if len(text) > 1024:
        raise GraphError(100, "The body is longer than 1024 characters.", subcode=2388040)
    if EDGE_VARIABLE.search(text):
        raise GraphError(100, "Variables can't be at the start or end of the template.",
                         subcode=2388299)  # fmt: skip
    if len(PLACEHOLDER.findall(text)) * 3 > len(text.split()):
        raise GraphError(100, "This template has too many variables for its length.",
                         subcode=2388293)  # fmt: skip


def begin(sim: Simulator, account: Account, template: Template) -> None:
    """Put a template under review; the verdict comes as a webhook."""
    template.status = "PENDING"
    due = sim.clock.now() + sim.options.review_delay_ms / 1000
    verdict = "REJECTED" if REJECTED in template.name else "APPROVED"
    sim.agenda.at(due, partial(_conclude, sim, account, template, verdict))


def decide(sim: Simulator, account: Account, template: Template, status: str) -> None:
    """Give a template a status and tell about it."""
    template.status = status
    template.rejected_reason = "INVALID_FORMAT" if status == "REJECTED" else "NONE"
    sim.announce(account, "message_template_status_update", {
        "event": status,
        **names(template),
        "reason": template.rejected_reason,
        "message_template_category": template.category,
    })  # fmt: skip


def rate(sim: Simulator, account: Account, template: Template, quality: str) -> None:
    """Give a template a quality and tell about it."""
    previous, template.quality = template.quality, quality
    sim.announce(account, "message_template_quality_update", {
        "previous_quality_score": previous, "new_quality_score": quality, **names(template),
    })  # fmt: skip


def move(sim: Simulator, account: Account, template: Template, category: str) -> None:
    """Put a template into another category and tell about it."""
    template.previous_category, template.category = template.category, category
    sim.announce(account, "template_category_update", {
        **names(template), "previous_category": template.previous_category,
        "new_category": category,
    })  # fmt: skip


def names(template: Template) -> Json:
    """Return what every update about a template has."""
    return {
        "message_template_id": int(template.id),
        "message_template_name": template.name,
        "message_template_language": template.language,
    }


def _conclude(sim: Simulator, account: Account, template: Template, verdict: str) -> None:
    if template.status == "PENDING" and template in account.templates:
        decide(sim, account, template, verdict)
