"""The sender service: an ASGI application with four routes over the one way to send.

``POST /send`` accepts a message as GraphQL and REST do, then waits a while for its outcome. Waiting
costs no thread, and whoever hangs up loses nothing: what was accepted is owed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError

from connectors.sender import accounts, admission, asking, cors, keyless, messages
from connectors.sender.accounts import Account
from connectors.sender.asking import Wanted
from connectors.sender.bodies import Bodies
from connectors.sender.callers import Caller
from connectors.sender.failures import AWAY, refusal_of
from connectors.sender.messages import Accepted
from connectors.sender.outcomes import Seen
from connectors.sender.refusals import Refused, unavailable
from connectors.sender.replies import Reply, reply_of
from connectors.sender.threads import Threads
from connectors.sender.told import note, tell
from connectors.sender.waiting import WaitingRoom
from lib import clock
from lib.requests import Headers, Receive, Scope, Send, headers_of

THREADS, HEALTH_THREADS = 8, 2
# Calls at once in one process; more than may wait, so that some can still be told to come again.
MOST_CALLS = 6_000
# How long the log wants to hear of a message; what takes longer waits for a pause or a limit.
WATCH_SECONDS, LOG_PAUSE_SECONDS = 600.0, 1.0
ALIVE = Reply(200, {"status": "healthy", "connected": True, "phone": None})


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request; ``rest`` is what stands in the path behind the route."""

    headers: Headers
    receive: Receive
    rest: str

    def header(self, name: bytes) -> str | None:
        """Return a header's value, as Django reads it; ``None``: it is not there."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1").strip()


Handler = Callable[[Call], Awaitable[Reply]]


class Service:
    """Everything that serves, for one process."""

    def __init__(self) -> None:
        self._threads = Threads(THREADS, "sender")
        # Those who wait for an outcome are not held up by those who come.
        self._outcomes = Threads(1, "outcomes")
        # Health is asked for when every other thread is busy.
        self._health_threads = Threads(HEALTH_THREADS, "health")
        self._room = WaitingRoom(self._how_far)
        # The log is in no hurry: what waits for long is not asked about all the time.
        self._log_room = WaitingRoom(self._how_far, pause=LOG_PAUSE_SECONDS)
        self._bodies, self._calls = Bodies(), 0
        self._watching: set[asyncio.Task[None]] = set()
        self._routes: Mapping[str, tuple[str, Handler]] = {
            "health": ("GET", self._health),
            "send": ("POST", self._send),
            "status": ("GET", self._status),
            "messages": ("GET", self._message),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        headers = headers_of(scope)
        self._calls += 1
        try:
            reply = await self._reply(scope, headers, receive)
        except Exception as error:
            reply = reply_of(refusal_of(error))
        finally:
            self._calls -= 1
        await reply.send(send, cors.headers_for(headers))

    async def check(self, address: str | None) -> None:
        """See to it that what was configured may be served at an address (``None``: not known).

        Raises:
            keyless.UnsafeToStart: calls without a key may not.
        """
        await self._threads.run(partial(keyless.check, address))

    def end(self) -> None:
        """Let whoever waits for an outcome go: the server is about to stop."""
        self._room.end()
        self._log_room.end()

    def close(self) -> None:
        """Let go of the threads; blocks until they have finished what they do."""
        for threads in (self._threads, self._outcomes, self._health_threads):
            threads.close()

    async def _reply(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        name, _, rest = scope["path"].strip("/").partition("/")
        if name not in self._routes or bool(rest) != (name == "messages"):
            raise Refused(404, "NOT_FOUND", "There is nothing at this path.")
        wanted, handler = self._routes[name]
        allowed = ("GET", "HEAD") if wanted == "GET" else (wanted,)
        methods = ", ".join((*allowed, "OPTIONS"))
        if scope["method"] == "OPTIONS":
            return Reply(204, None, (("allow", methods), *cors.preflight_for(headers, methods)))
        if scope["method"] not in allowed:
            message = f"Send a {wanted} to /{name}."
            raise Refused(405, "METHOD_NOT_ALLOWED", message, headers=(("allow", methods),))
        if self._calls > MOST_CALLS:
            raise unavailable("Too many call at once; try again.")
        return await handler(Call(headers, receive, rest))

    async def _health(self, call: Call) -> Reply:
        try:
            if admission.is_anonymous(call.headers):
                await self._health_threads.run(accounts.database_answers)
                return ALIVE
            account = await self._health_threads.run(partial(_look, call.headers))
        except (OperationalError, InterfaceError):
            return Reply(503, accounts.unhealthy(AWAY))
        return Reply(503 if account.reason else 200, account.health())

    async def _status(self, call: Call) -> Reply:
        account = await self._threads.run(partial(_look, call.headers))
        return Reply(200, account.status())

    async def _message(self, call: Call) -> Reply:
        return Reply(200, await self._threads.run(partial(_describe, call.headers, call.rest)))

    async def _send(self, call: Call) -> Reply:
        caller = await self._threads.run(partial(admission.to_send, call.headers))
        wanted = asking.wanted_of(await self._bodies.read(call.headers, call.receive))
        accepted = await self._threads.run(partial(
            messages.accept, caller, wanted, idempotency_key=call.header(b"idempotency-key"),
            now=clock.now(),
        ))  # fmt: skip
        preference = asking.preference_of(call.headers.get(b"prefer", b""))
        seconds = preference.seconds(settings.SIGMA_SENDER_WAIT_SECONDS)
        seen = await self._room.outcome(accepted.message_id, accepted.seen, seconds=seconds)
        if not accepted.is_repeat:
            self._log(caller, wanted, accepted._replace(seen=seen))
        return tell(accepted, seen)

    def _log(self, caller: Caller, wanted: Wanted, accepted: Accepted) -> None:
        """Log what became of a message: now, or once it is known."""
        if accepted.seen.is_settled:
            note(caller, wanted, accepted, accepted.seen)
            return

        async def watch() -> None:
            message_id, seen = accepted.message_id, accepted.seen
            seen = await self._log_room.outcome(message_id, seen, seconds=WATCH_SECONDS)
            note(caller, wanted, accepted, seen)

        watching = asyncio.create_task(watch())
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)

    async def _how_far(self, message_ids: Collection[UUID]) -> Mapping[UUID, Seen]:
        return await self._outcomes.run(partial(messages.how_far, message_ids))


def _look(headers: Headers) -> Account:
    return accounts.look(admission.to_look(headers), now=clock.now())


def _describe(headers: Headers, given: str) -> dict[str, object]:
    caller = admission.to_look(headers)
    try:
        message_id = UUID(given)
    except ValueError:
        raise messages.not_found() from None
    return messages.describe(caller, message_id)
