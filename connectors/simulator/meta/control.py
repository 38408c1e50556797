"""The simulator's own API under ``/sim``: what happened, what time it is, what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Annotated, TypeAlias

import msgspec

from connectors.simulator.meta import staging
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import HttpAnswer, Request, answer
from connectors.simulator.meta.inbound import UnknownContent
from connectors.simulator.meta.plans import MAGIC, FaultRule
from connectors.simulator.meta.simulator import NoSuchNumber, Simulator
from connectors.simulator.meta.staging import NotThere
from connectors.simulator.meta.world import Json, UnreadableWorld, read, written

Handler: TypeAlias = Callable[[Simulator, Request], object]
PAGE = 10_000
# Ten years, in seconds.
MOST_ADVANCE = 315_360_000
NEWEST = "v26.0"


async def handle(sim: Simulator, request: Request) -> HttpAnswer:
    """Answer a request to the simulator itself."""
    parts = request.parts[1:]
    handler = HANDLERS.get((request.method, parts[0] if parts else ""))
    if handler is None:
        return _refused("There is no such thing under /sim.", 404)
    try:
        found = handler(sim, request)
    except (msgspec.MsgspecError, UnknownContent, NotThere, NoSuchNumber, UnreadableWorld) as error:
        return _refused(str(error))
    except GraphError as error:
        return _refused(error.details or error.title)
    return found if isinstance(found, HttpAnswer) else answer(found)


def _refused(message: str, status: int = 400) -> HttpAnswer:
    return answer({"error": {"message": message}}, status)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise UnreadableWorld(f"{text[:64]!r} is not a whole number.")
    return int(text)


def _front(sim: Simulator, request: Request) -> object:
    return HttpAnswer(200, front_page(request.origin).encode(), b"text/plain; charset=utf-8")


def front_page(origin: str) -> str:
    """Return what this is, its addresses, and the numbers that do something on purpose."""
    magic = "\n".join(f"  …{suffix}      {meaning}" for suffix, _, meaning in MAGIC)
    return f"""\
A SIMULATOR of Meta's WhatsApp Cloud API. Nothing leaves this machine; nobody gets a message.

  Graph API    {origin}/{NEWEST}  (any version)
  Control      {origin}/sim/journal, state, webhooks, rules, clock, inbound, reset, …

Recipients that do something on purpose, by their last digits; all others read what they get:
{magic}
  …0131026   refused with 131026; likewise 0 and any code, filled up to six digits
  …1131049   accepted, then failed with 131049; likewise 1 and any code
"""


def _journal(sim: Simulator, request: Request) -> object:
    query = request.query
    entries = sim.journal.since(_number(query.get("since", "0")))
    wanted = {k: v for k, v in query.items() if k in ("to", "biz_opaque_callback_data", "template")}
    chosen = (entry for entry in entries if all(getattr(entry, k) == v for k, v in wanted.items()))
    limit = _number(query.get("limit", str(PAGE)))
    return {"count": sim.journal.count, "entries": list(islice(chosen, limit))}


def _state(sim: Simulator, request: Request) -> object:
    emitter = sim.emitter
    states: dict[str, int] = {}
    for delivery in emitter.log:
        states[delivery.state] = states.get(delivery.state, 0) + 1
    return {
        "time": sim.clock.now(),
        "advanced": sim.clock.advanced,
        "requests": sim.journal.count,
        "updates": emitter.updates,
        "lost": emitter.lost,
        "callbacks": emitter.count,
        "newest_callbacks": states,
        "waiting": emitter.waiting(),
        "scheduled": len(sim.agenda),
        "open_windows": sum(sim.is_window_open(*pair) for pair in sim.last_inbound),
        "files": len(sim.media),
        "options": sim.options,
        "rules": sim.rules.all,
        "accounts": sim.registry.world.accounts,
    }


def _reset(sim: Simulator, request: Request) -> object:
    sim.reset()
    return {"success": True}


def _forget_files(sim: Simulator, request: Request) -> object:
    sim.media.clear()
    return {"success": True}


def _export(sim: Simulator, request: Request) -> object:
    return HttpAnswer(200, written(sim.registry.world))


def _import(sim: Simulator, request: Request) -> object:
    sim.reset(read(request.body))
    return {"success": True}


class TimeAdvance(msgspec.Struct, forbid_unknown_fields=True):
    """How far to move time on, in seconds."""

    advance_seconds: Annotated[float, msgspec.Meta(ge=0, le=MOST_ADVANCE)] = 0


def _document(request: Request) -> Json:
    """Return the body, which is JSON whatever curl says of it."""
    return msgspec.json.decode(request.body or b"{}", type=dict[str, object])


def _asked(request: Request) -> TimeAdvance:
    return msgspec.json.decode(request.body or b"{}", type=TimeAdvance)


def _clock(sim: Simulator, request: Request) -> object:
    if request.method == "POST":
        sim.advance(_asked(request).advance_seconds)
    return {"time": sim.clock.now(), "advanced": sim.clock.advanced}


def _rules(sim: Simulator, request: Request) -> object:
    return {"rules": sim.rules.all}


def _add_rule(sim: Simulator, request: Request) -> object:
    return sim.rules.add(msgspec.json.decode(request.body, type=FaultRule))


def _lift_rules(sim: Simulator, request: Request) -> object:
    sim.rules.remove(_number(request.parts[2]) if len(request.parts) > 2 else None)
    return {"rules": sim.rules.all}


def _webhooks(sim: Simulator, request: Request) -> object:
    since = _number(request.query.get("since", "0"))
    deliveries = [delivery for delivery in sim.emitter.log if delivery.n > since]
    return {"count": sim.emitter.count, "options": sim.options, "deliveries": deliveries}


def _options(sim: Simulator, request: Request) -> object:
    staging.change(sim.options, _document(request))
    sim.emitter.flush()
    return sim.options


def _inbound(sim: Simulator, request: Request) -> object:
    return {"id": staging.inbound(sim, _document(request), request.origin)}


def _window(sim: Simulator, request: Request) -> object:
    staging.open_window(sim, _document(request))
    return {"success": True}


def _change(sim: Simulator, request: Request) -> object:
    name = request.parts[2] if len(request.parts) > 2 else ""
    return staging.CHANGES[request.parts[1]](sim, name, _document(request))


def _update(sim: Simulator, request: Request) -> object:
    staging.announce(sim, _document(request))
    return {"success": True}


HANDLERS: dict[tuple[str, str], Handler] = {
    ("GET", ""): _front,
    ("GET", "journal"): _journal,
    ("GET", "state"): _state,
    ("POST", "reset"): _reset,
    ("DELETE", "files"): _forget_files,
    ("GET", "export"): _export,
    ("POST", "import"): _import,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _clock,
    ("GET", "rules"): _rules,
    ("POST", "rules"): _add_rule,
    ("DELETE", "rules"): _lift_rules,
    ("GET", "webhooks"): _webhooks,
    ("POST", "webhooks"): _options,
    ("POST", "options"): _options,
    ("POST", "inbound"): _inbound,
    ("POST", "window"): _window,
    ("POST", "updates"): _update,
    **{("POST", name): _change for name in staging.CHANGES},
}
