"""Changes from outside: people write, templates are paused, tokens expire."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from connectors.simulator.meta import inbound as people
from connectors.simulator.meta import media, templates
from connectors.simulator.meta.mediastore import RECEIVED_FOR
from connectors.simulator.meta.recipients import GraphRecipient, recipient_of
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import BusinessAccount, Json, SimulatedTemplate, Token

MEDIA = ("image", "video", "audio", "document", "sticker")
# The smallest PNG: one pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63f8cfc0"
    "f01f00050001ff89993d1d0000000049454e44ae426082"
)


class NotThere(Exception):
    """The simulator has no such thing."""


def change(subject: msgspec.Struct, document: Json) -> None:
    """Set fields of a struct, as long as they exist and have the right type.

    Raises:
        msgspec.ValidationError: otherwise; nothing is changed then.
    """
    unknown = set(document) - set(subject.__struct_fields__)
    if unknown:
        raise msgspec.ValidationError(f"There is no field {sorted(unknown)[0]!r}.")
    changed = msgspec.convert({**msgspec.to_builtins(subject), **document}, type=type(subject))
    for name in document:
        setattr(subject, name, getattr(changed, name))


def inbound(sim: Simulator, document: Json, origin: str) -> str:
    """Let a person write; return the message's id.

    Raises:
        NotThere, GraphError, UnknownContent: no such number, no sender, nothing written.
    """
    number, sender = _pair(sim, document)
    content = people.content_of(sim.rng, document)
    kind = str(content.get("type"))
    part = content.get(kind)
    if kind in MEDIA and isinstance(part, dict) and "kind" in document:
        content[kind] = {**part, **_file(sim, number, str(part["mime_type"]), origin)}
    return sim.write(number, sender, content)


def open_window(sim: Simulator, document: Json) -> None:
    """Open the 24-hour window as if the person had written just now, without a callback."""
    number, sender = _pair(sim, document)
    sim.last_inbound[number, sender.key] = sim.clock.now()


def announce(sim: Simulator, document: Json) -> None:
    """Send any update about an account: ``waba_id`` (by default the first), ``field``, ``value``.

    Raises:
        NotThere: no such account, or no field and value.
    """
    value, field = document.get("value"), document.get("field")
    if not isinstance(value, dict) or not isinstance(field, str):
        raise NotThere("field (a text) and value (an object) are required.")
    sim.emit_for_account(_account(sim, str(document.get("waba_id", ""))), field, value)


def _pair(sim: Simulator, document: Json) -> tuple[str, GraphRecipient]:
    registry = sim.registry
    number = str(document.get("phone_number_id") or next(iter(registry.numbers), ""))
    if number not in registry.numbers:
        raise NotThere(f"There is no phone number ID {number!r} here.")
    sender = document.get("from")
    is_user = isinstance(sender, str) and not sender[:1].isdigit() and "." in sender
    return number, recipient_of({"recipient" if is_user else "to": sender})


def _file(sim: Simulator, number: str, mime_type: str, origin: str) -> Json:
    """Return what a message says of a file that can really be fetched, for 7 days."""
    content = PNG if mime_type.startswith("image/") else b"a file of the simulator"
    mime_type = "image/png" if content is PNG else mime_type
    file = sim.media.keep(number, mime_type, content, sim.clock.now() + RECEIVED_FOR)
    facts = media.descriptor(sim, file, origin)
    return {name: facts[name] for name in ("id", "mime_type", "sha256", "url")}


def _account(sim: Simulator, waba_id: str) -> BusinessAccount:
    account = sim.registry.accounts.get(waba_id or next(iter(sim.registry.accounts), ""))
    if account is None:
        raise NotThere(f"There is no account {waba_id!r} here.")
    return account


def _number(sim: Simulator, name: str, document: Json) -> object:
    found = sim.registry.numbers.get(name)
    if found is None:
        raise NotThere(f"There is no phone number ID {name!r} here.")
    account, number = found
    before = number.throughput
    change(number, document)
    if number.throughput != before:
        sim.emit_for_account(
            account,
            "phone_number_quality_update",
            {
                "display_phone_number": number.digits,
                "event": "THROUGHPUT_UPGRADE",
                "max_daily_conversations_per_business": account.messaging_limit,
            },
        )
    return number


def _waba(sim: Simulator, name: str, document: Json) -> object:
    account = _account(sim, name)
    before = account.messaging_limit
    change(account, document)
    sim.registry.index()
    if account.messaging_limit != before:
        value: Json = {"max_daily_conversations_per_business": account.messaging_limit}
        sim.emit_for_account(account, "business_capability_update", value)
    return account


def _templates(sim: Simulator, name: str, document: Json) -> object:
    chosen = [
        (account, template)
        for account, template in sim.registry.templates.values()
        if name in (template.id, template.name)
    ]
    if not chosen:
        raise NotThere(f"There is no template {name!r} here.")
    for account, template in chosen:
        _stage(sim, account, template, dict(document))
    return [template for _, template in chosen]


def _stage(
    sim: Simulator, account: BusinessAccount, template: SimulatedTemplate, document: Json
) -> None:
    changes: dict[str, Callable[[Simulator, BusinessAccount, SimulatedTemplate, str], None]] = {
        "status": templates.decide,
        "quality": templates.rate,
        "category": templates.move,
    }
    for name, apply in changes.items():
        if name in document:
            apply(sim, account, template, str(document.pop(name)))
    change(template, document)
    sim.registry.index()


def _token(sim: Simulator, name: str, document: Json) -> object:
    """Change a token or make one; ``expires_in`` are seconds from now."""
    seconds = document.pop("expires_in", None)
    if isinstance(seconds, int | float):
        document["expires_at"] = sim.clock.now() + seconds
    token = sim.registry.tokens.get(name)
    if token is not None:
        change(token, document)
        return token
    app_id = str(document.get("app_id") or next(iter(sim.registry.apps), ""))
    token = msgspec.convert({**document, "token": name, "app_id": app_id}, type=Token)
    sim.registry.world.tokens.append(token)
    sim.registry.index()
    return token


def _app(sim: Simulator, name: str, document: Json) -> object:
    app = sim.registry.apps.get(name)
    if app is None:
        raise NotThere(f"There is no app {name!r} here.")
    change(app, document)
    return app


CHANGES: dict[str, Callable[[Simulator, str, Json], object]] = {
    "numbers": _number,
    "accounts": _waba,
    "templates": _templates,
    "tokens": _token,
    "apps": _app,
}
