"""What a person of the simulator writes to a business."""

from __future__ import annotations

from random import Random

from connectors.simulator.meta.recipients import GraphRecipient, person
from connectors.simulator.meta.world import Json
from connectors.simulator.people import sent_wamid, wamid
from connectors.simulator.shapes import BODIES, PRESSED


class UnknownContent(Exception):
    """What is written must be a text, one of the known kinds, or a type with its part."""


def message(
    rng: Random,
    sender: GraphRecipient,
    content: Json,
    *,
    now: int,
    business: str,
    pressed: str = "",
) -> tuple[Json, dict[str, object]]:
    """Return the entries of ``messages`` and ``contacts`` for ``content`` (its type and part).

    Who presses a button or picks from a list answers a message of the business: ``pressed`` is its
    id, ``business`` the digits of the number that sent it.
    """
    who = person(sender)
    if content["type"] in PRESSED and "context" not in content:
        context = {"from": business, "id": pressed or sent_wamid(rng, sender.digits or "0")}
        content = {"context": context, **content}
    item: Json = {
        **who.named("from", "from_user_id"),
        "id": wamid(rng, sender.digits or "0"),
        "timestamp": str(now),
        **content,
    }
    return item, who.contact()


def content_of(rng: Random, asked: Json) -> Json:
    """Return the type and part of a message that somebody asks for: ``{"text": "Hi"}``,
    ``{"kind": "image"}`` for a made-up one, or ``{"type": …, "<type>": …}`` as Meta sends it.

    Raises:
        UnknownContent: none of these.
    """
    extra: Json = {key: asked[key] for key in ("context", "referral") if key in asked}
    text, kind = asked.get("text"), asked.get("kind")
    if isinstance(text, str) and text:
        return {"type": "text", "text": {"body": text}, **extra}
    if isinstance(kind, str) and kind in BODIES:
        wire_type, body = BODIES[kind]
        return {"type": wire_type, **body(rng), **extra}
    name = asked.get("type")
    if isinstance(name, str) and name in asked:
        return {"type": name, name: asked[name], **extra}
    raise UnknownContent(f"{UnknownContent.__doc__} Kinds: {', '.join(BODIES)}.")
