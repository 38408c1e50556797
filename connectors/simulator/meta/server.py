"""Serve a simulator on loopback: in the foreground, or in a thread beside tests, with a client for
its control API.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, cast

import httpx
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from connectors.simulator.meta.app import ABORT, SimulatorApplication
from connectors.simulator.meta.control import NEWEST
from connectors.simulator.meta.seeds import sample
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import World
from connectors.simulator.wire import NotLoopback

HOST = "127.0.0.1"
BACKLOG = 4096
# Clients keep connections open; to close an idle one just as it is used looks like a lost answer.
KEEP_ALIVE_SECONDS = 300


class _Protocol(HttpToolsProtocol):
    """Lets the application cut a connection, which ASGI has no word for."""

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, object]
    ) -> None:
        super().__init__(config, server_state, app_state)
        # Addresses hold numbers and proofs; the journal is the log of what came.
        self.access_log = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"cut": self.transport.abort}}


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any that is free.

    Raises:
        NotLoopback: an address that others could reach.
        OSError: the port is taken.
    """
    name = HOST if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise NotLoopback(f"The simulator serves this machine only; it cannot listen on {host!r}.")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((name, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def serving(sim: Simulator, listener: socket.socket) -> AsyncIterator[None]:
    """Serve inside the block; at its end every connection is cut at once."""
    config = uvicorn.Config(
        SimulatorApplication(sim),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Protocol(config=config, server_state=state, app_state={}), sock=listener
    )
    try:
        yield
    finally:
        server.close()
        sim.emitter.close()
        for connection in tuple(state.connections):
            cast(_Protocol, connection).transport.abort()
        # So that every request knows that its client is gone.
        await asyncio.sleep(0)
        for task in tuple(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)


class RunningSimulator:
    """A simulator in a thread of its own, for the length of a ``with`` block.

    Without a world it is :func:`seeds.sample`: one app, one account, one number, one token.
    """

    def __init__(self, world: World | None = None, *, port: int = 0) -> None:
        self.world = world or sample()
        self.state = Simulator(self.world)
        self._listener = listen(HOST, port)
        self.origin = address(self._listener)
        # What SIGMA_GRAPH_URL must be.
        self.url = f"{self.origin}/{NEWEST}"
        self.control = Control(self.origin)
        self._thread = threading.Thread(target=self._run, name="simulated-meta", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def token(self) -> str:
        """The first access token."""
        return self.world.tokens[0].token

    @property
    def phone_number_id(self) -> str:
        """The first number of the first account."""
        return self.world.accounts[0].numbers[0].id

    @property
    def waba_id(self) -> str:
        """The first account."""
        return self.world.accounts[0].id

    def __enter__(self) -> RunningSimulator:
        """Start; the socket listens already, so requests wait until it runs."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop at once, whatever hangs."""
        self.control.close()
        self._started.wait(10)
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self.state, self._listener):
            self._started.set()
            await self._stop.wait()


class UnableToControl(Exception):
    """The simulator did not do what it was asked."""


class Control:
    """What a test asks of a running simulator; documents are those of ``docs/simulator.md``."""

    def __init__(self, origin: str) -> None:
        self._client = httpx.Client(base_url=f"{origin}/sim", timeout=10, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def journal(self, since: int = 0, **filters: str) -> list[dict[str, Any]]:
        """Return the message requests after number ``since``; filter by ``to``, ``template`` or
        ``biz_opaque_callback_data``.
        """
        found: list[dict[str, Any]] = self._get("journal", since=str(since), **filters)["entries"]
        return found

    def processed(self, callback_data: str) -> list[dict[str, Any]]:
        """Return the requests with this ``biz_opaque_callback_data`` that took effect: one is
        right, two are a double send.
        """
        entries = self.journal(biz_opaque_callback_data=callback_data)
        return [entry for entry in entries if entry.get("is_processed")]

    def state(self) -> dict[str, Any]:
        """Return everything that it knows of itself."""
        return self._get("state")

    def deliveries(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the callbacks after number ``since`` with their bodies, delivered or not."""
        found: list[dict[str, Any]] = self._get("webhooks", since=str(since))["deliveries"]
        return found

    def reset(self) -> None:
        """Forget everything that happened, rules and changes included."""
        self._post("reset", {})

    def advance(self, seconds: float) -> float:
        """Move time on; return the virtual time."""
        return float(self._post("clock", {"advance_seconds": seconds})["time"])

    def options(self, **options: object) -> dict[str, Any]:
        """Change how it behaves: see :class:`world.Options`."""
        return self._post("options", options)

    def rule(self, preset: str, **rule: object) -> int:
        """Let requests go wrong: see :class:`plans.Rule`; return the rule's number."""
        return int(self._post("rules", {"preset": preset, **rule})["id"])

    def lift_rules(self) -> None:
        """Let nothing go wrong any more."""
        self._checked(self._client.delete("rules"))

    def inbound(self, sender: str, text: str = "", **content: object) -> str:
        """Let a person write, which opens the window; return the message's id."""
        return str(self._post("inbound", {"from": sender, "text": text, **content})["id"])

    def open_window(self, sender: str, phone_number_id: str = "") -> None:
        """Open a person's 24-hour window without a message."""
        self._post("window", {"from": sender, "phone_number_id": phone_number_id})

    def change(self, kind: str, name: str, **fields: object) -> Any:
        """Change one of ``numbers``, ``accounts``, ``templates``, ``tokens``, ``apps``."""
        return self._post(f"{kind}/{name}", fields)

    def announce(self, field: str, value: dict[str, object], waba_id: str = "") -> None:
        """Send any update about an account."""
        self._post("updates", {"field": field, "value": value, "waba_id": waba_id})

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        return self._checked(self._client.get(path, params=query))

    def _post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        return self._checked(self._client.post(path, json=document))

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code != 200:
            raise UnableToControl(response.text)
        document: dict[str, Any] = response.json()
        return document
