"""Templates over the Graph API: list, create, edit, delete.

https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/message_templates
"""

from __future__ import annotations

from collections.abc import Iterator

from connectors.whatsapp.graph import Graph
from connectors.whatsapp.wire.answers import Json, integer, member, members, text
from workspaces.channel_errors import OutcomeUnknown, Rejected, Unavailable
from workspaces.channel_facts import TemplateDraft, TemplateFacts

EDGE = "message_templates"
FIELDS = (
    "id,name,language,status,category,sub_category,parameter_format,components,quality_score,"
    "rejected_reason,previous_category,message_send_ttl_seconds"
)
PAGE = "100"
# Meta allows 6,000 templates in an account; more pages than this go round in a circle.
MAX_PAGES = 200


def listed(graph: Graph, waba_id: str, name: str | None) -> Iterator[TemplateFacts]:
    """Yield the templates of an account, page after page; only those called ``name`` if given.

    Meta's ``next`` address is not followed, it holds the token: the cursor is enough.

    Raises:
        workspaces.channel_errors.ChannelError: a page has no proper answer.
    """
    parameters = {"fields": FIELDS, "limit": PAGE} | ({"name": name} if name else {})
    for _ in range(MAX_PAGES):
        page = graph.get(f"{waba_id}/{EDGE}", parameters)
        found = (_facts(node) for node in members(page, "data"))
        yield from (facts for facts in found if facts and name in (None, facts.name))
        paging = member(page, "paging")
        after = text(member(paging, "cursors"), "after")
        if not paging.get("next") or not after:
            return
        if parameters.get("after") == after:
            break
        parameters["after"] = after
    raise Unavailable("Meta's list of templates does not end.")


def create(graph: Graph, waba_id: str, draft: TemplateDraft) -> TemplateFacts:
    """Submit a template for review.

    Raises:
        workspaces.channel_errors.ChannelError: refused, or no proper answer.
    """
    body: Json = {
        "name": draft.name,
        "language": draft.language,
        "category": draft.category,
        "parameter_format": draft.parameter_format,
        **_contents(draft),
    }
    answer = graph.post(f"{waba_id}/{EDGE}", body)
    template_id = text(answer, "id")
    if not template_id:
        raise OutcomeUnknown("Meta's answer names no template.")
    return TemplateFacts(
        platform_template_id=template_id,
        name=draft.name,
        language=draft.language,
        status=text(answer, "status"),
        category=text(answer, "category") or draft.category,
        parameter_format=draft.parameter_format,
        components=draft.components,
        ttl_seconds=draft.ttl_seconds,
    )


def edit(graph: Graph, template_id: str, draft: TemplateDraft) -> None:
    """Replace a template's components; Meta lets nobody change its name or language.

    Raises:
        workspaces.channel_errors.ChannelError: refused, or no proper answer.
    """
    _succeed(graph.post(template_id, _contents(draft)))


def delete(graph: Graph, waba_id: str, name: str, template_id: str | None) -> None:
    """Delete a template in all its languages, or in the one of ``template_id``.

    Raises:
        workspaces.channel_errors.ChannelError: refused, or no proper answer.
    """
    one = {"hsm_id": template_id} if template_id else {}
    _succeed(graph.delete(f"{waba_id}/{EDGE}", {"name": name} | one))


def _contents(draft: TemplateDraft) -> Json:
    ttl = {} if draft.ttl_seconds is None else {"message_send_ttl_seconds": draft.ttl_seconds}
    return {"components": list(draft.components), **ttl}


def _succeed(answer: Json) -> None:
    if answer.get("success") is not True:
        raise Rejected(0, "Meta did not do it and does not say why.")


def _facts(node: Json) -> TemplateFacts | None:
    template_id, name, language = (text(node, key) for key in ("id", "name", "language"))
    if not (template_id and name and language):
        return None
    return TemplateFacts(
        platform_template_id=template_id,
        name=name,
        language=language,
        status=text(node, "status"),
        category=text(node, "category"),
        sub_category=text(node, "sub_category"),
        parameter_format=text(node, "parameter_format").upper() or "POSITIONAL",
        components=tuple(members(node, "components")),
        quality=text(member(node, "quality_score"), "score"),
        rejected_reason=text(node, "rejected_reason"),
        previous_category=text(node, "previous_category"),
        ttl_seconds=integer(node, "message_send_ttl_seconds"),
    )
