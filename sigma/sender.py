"""The sender service's process: ``python -m sigma.sender``, or any ASGI server on ``application``.

Started by itself it knows its address, which calls without an API key depend on.
"""

from __future__ import annotations

# First, because what follows needs Django's apps.
from sigma.ready import IS_READY

# isort: split
import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Sequence

import uvicorn
from django.db import connections

from connectors.linked_device import logs
from connectors.sender import callers
from connectors.sender.callers import UnsafeToStart
from connectors.sender.service import Service
from lib import structs
from lib.heartbeat import ProcessHeartbeat
from lib.requests import Receive, Scope, Send
from sigma.heads import Bounded
from sigma.metrics import counted
from sigma.stopping import on_stop

__all__ = ("IS_READY", "SenderApplication", "application", "main")

logger = logging.getLogger("sigma.whatsapp.sender")

HOST, PORT = "127.0.0.1", 8081
GRACE_SECONDS = 5
NOT_FOUND = 4404


class SenderApplication:
    """Tie the service's life to the server's; ``address`` is where it listens, if that is known."""

    def __init__(self, address: str | None = None) -> None:
        self._service, self._address, self._is_checked = Service(), address, False
        self._heartbeat = ProcessHeartbeat("sender")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            if not self._is_checked:  # a server that tells nobody of its start (--lifespan off)
                await self._begin()
            await self._service(scope, receive, counted("sender", send))
        else:
            await send({"type": "websocket.close", "code": NOT_FOUND})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send(await self._start())
            elif message["type"] == "lifespan.shutdown":
                self._service.end()
                await asyncio.to_thread(self._heartbeat.stop)
                await asyncio.to_thread(self._service.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> dict[str, str]:
        try:
            await self._begin()
        except UnsafeToStart as error:
            return {"type": "lifespan.startup.failed", "message": f"sigma: {error}"}
        self._heartbeat.start()
        return {"type": "lifespan.startup.complete"}

    async def _begin(self) -> None:
        await self._service.check(self._address)
        self._is_checked = True
        logs.attach("service")
        logger.info("whatsapp sender service accepts calls", extra={"pid": os.getpid()})
        callers.log_openness(self._address)
        on_stop(self._service.end)


structs.warm()
application = SenderApplication()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; return the exit code."""
    chosen = _options(arguments)
    listener = socket.socket(fileno=chosen.fd) if chosen.fd is not None else None
    address = chosen.host if listener is None else _address_of(listener)
    try:
        callers.check(address)
    except UnsafeToStart as error:
        sys.stderr.write(f"sigma: {error}\n")
        return 1
    finally:
        connections.close_all()
    server = uvicorn.Server(config(SenderApplication(address), host=chosen.host, port=chosen.port))
    server.run(sockets=None if listener is None else [listener])
    return 0 if server.started else 1


def config(application: SenderApplication, *, host: str, port: int) -> uvicorn.Config:
    """Return how the server serves."""
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        http=Bounded,
        ws="none",
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _address_of(listener: socket.socket) -> str:
    """Return the address that a socket listens on; one without a network is this machine's."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return HOST
    return str(listener.getsockname()[0])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sigma.sender", description=__doc__)
    parser.add_argument("--host", default=HOST, help="address to listen on")
    parser.add_argument("--port", type=int, default=PORT, help="port to listen on")
    parser.add_argument("--fd", type=int, help="a socket that listens already, instead")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
