"""The Graph API: who asks, about what object, whether they may, and how often."""

from __future__ import annotations

import msgspec

from connectors.simulator.meta import access, accounts, examples, media, numbers, templates
from connectors.simulator.meta.failures import GraphError, no_such_object, trace_id
from connectors.simulator.meta.http import (
    MANAGEMENT,
    Answered,
    Conduct,
    GraphCall,
    GraphRoute,
    HttpAnswer,
    Request,
    Subject,
    Table,
    refusal,
)
from connectors.simulator.meta.plans import ORDINARY, UPLOAD, Plan, Preset
from connectors.simulator.meta.sending import BARE, HTML, SLOW_SECONDS
from connectors.simulator.meta.simulator import Simulator


async def handle(sim: Simulator, request: Request) -> HttpAnswer:
    """Return the answer to a request, refusals included, with Meta's headers."""
    headers = [
        (b"facebook-api-version", request.version.encode()),
        (b"x-fb-trace-id", trace_id().encode()),
    ]
    known = sim.journal.count
    try:
        found = _answered(sim, request, headers)
        answered = found if isinstance(found, HttpAnswer) else await found
    except GraphError as error:
        if known == sim.journal.count:
            _note(sim, request, error)
        answered = refusal(error)
    delay = max(answered.delay, sim.options.answer_delay_ms / 1000)
    return answered._replace(delay=delay, headers=(*answered.headers, *headers))


def _note(sim: Simulator, request: Request, error: GraphError) -> None:
    """Enter a message that was refused early: its token, its number, its JSON."""
    if request.method == "POST" and request.parts[1:] == ["messages"]:
        entry = sim.journal.open(time=sim.clock.now(), phone_number_id=request.parts[0])
        entry.outcome, entry.code = "error", error.code


def _answered(sim: Simulator, request: Request, headers: list[tuple[bytes, bytes]]) -> Answered:
    call = access.call_of(sim, request)
    if request.parts == ["debug_token"]:
        return access.debug_token(sim, call)
    name = request.parts[0] if request.parts else ""
    edge = "/".join(request.parts[1:])
    table = _table(sim, call, name)
    # An entry of an edge, such as one short link, is answered under the edge's name and a star.
    entry = f"{edge.rpartition('/')[0]}/*"
    route = table.get((request.method, edge)) or table.get((request.method, entry))
    if route is None:
        raise no_such_object(name)
    plan = ORDINARY
    if edge != "messages":
        plan = sim.rules.plan(UPLOAD if name.startswith(examples.PREFIX) else edge)
        broken = _broken(plan)
        if broken is not None:
            return broken
    access.check_scope(call.token, route.scope)
    _count(sim, call, route, headers)
    if plan.preset is Preset.HALF:
        request.body = request.body[: len(request.body) // 2]
        route.handler(sim, call)
        return HttpAnswer(conduct=Conduct.CLOSE)
    return route.handler(sim, call)


def _table(sim: Simulator, call: GraphCall, name: str) -> Table:
    """Return what can be done with an object, and note it in the call."""
    registry = sim.registry
    if name in registry.numbers:
        call.subject = Subject(*registry.numbers[name])
        table = numbers.TABLE
    elif name in registry.accounts:
        call.subject = Subject(registry.accounts[name])
        table = accounts.ACCOUNT_TABLE
    elif name in registry.templates:
        account, template = registry.templates[name]
        call.subject = Subject(account, template=template)
        table = templates.NODE
    elif name == call.app.id:
        return accounts.APP_TABLE
    elif name.startswith(examples.PREFIX):
        return examples.find(sim, call, name)
    else:
        return media.find(sim, call, name)
    if not access.may_see(call.token, call.account):
        raise no_such_object(name)
    return table


def _count(
    sim: Simulator, call: GraphCall, route: GraphRoute, headers: list[tuple[bytes, bytes]]
) -> None:
    """Count a call to the management API, and say how much of the hour's is used."""
    if route.scope != MANAGEMENT or call.subject.account is None:
        return
    now = sim.clock.now()
    window = sim.limits.window(call.app.id, call.account)
    is_allowed = window.take(now)
    usage = {
        "type": "whatsapp",
        "call_count": int(window.used(now)),
        "total_cputime": 0,
        "total_time": 0,
        "estimated_time_to_regain_access": -int(-window.wait(now) // 60),
    }
    headers.append((b"x-business-use-case-usage", msgspec.json.encode({call.account.id: [usage]})))
    if not is_allowed:
        raise GraphError(
            80007,
            "There have been too many calls to this WhatsApp Business account. "
            "Wait a bit and try again.",
        )


def _broken(plan: Plan) -> HttpAnswer | None:
    """Return how a request other than a message ends by a rule."""
    match plan.preset:
        case Preset.ERROR:
            raise GraphError(plan.code, plan.details)
        case Preset.HANG:
            return HttpAnswer(conduct=Conduct.HANG)
        case Preset.CLOSE_BEFORE:
            return HttpAnswer(conduct=Conduct.CLOSE)
        case Preset.BARE_500:
            return HttpAnswer(500, BARE, HTML)
        case Preset.SLOW:
            return HttpAnswer(503, BARE, HTML, delay=SLOW_SECONDS)
        case _:
            return None
