"""One installation, one port: whether we may start here, and whether callers get through."""

from __future__ import annotations

import asyncio
import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sigma.engines.engine import UnableToStart

WEB_SECONDS = 60.0


class PortTaken(UnableToStart):
    """The port is in use by another program."""


class AlreadyRunning(UnableToStart):
    """Another ``make up`` runs on the same data."""


class NotHealthy(UnableToStart):
    """A server started but does not answer, or does not say that it is healthy."""


async def until_healthy(port: int) -> None:
    """Wait until ``/healthz`` answers 200.

    Raises:
        NotHealthy: it never did.
    """
    await _until(port, "/healthz", b" 200 ", "The web server is not healthy")


async def until_answering(port: int, path: str) -> None:
    """Wait until a server on this machine answers anything, be it that it is not well.

    Raises:
        NotHealthy: it never did.
    """
    await _until(port, path, b"HTTP/", f"Nothing answers on port {port}")


async def _until(port: int, path: str, wanted: bytes, trouble: str) -> None:
    try:
        async with asyncio.timeout(WEB_SECONDS):
            while wanted not in await _status(port, path):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise NotHealthy(f"{trouble} after {WEB_SECONDS:.0f} s; the lines above say why.") from None


async def _status(port: int, path: str) -> bytes:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        )
        status = await reader.readline()
        writer.close()
    except OSError:
        return b""
    return status


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock on this data folder; the kernel drops it however we end."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "up.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"'make up' already runs on {folder}; stop it first.") from None
        yield


@contextmanager
def listening(host: str, port: int, *, variable: str = "PORT") -> Iterator[socket.socket]:
    """Listen from the start: the port is ours before anything else is done, and stays so.

    ``variable`` is make's name for the port, for whoever has to choose another.

    Raises:
        PortTaken: another program has it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. uvicorn takes a socket that it is passed for a Unix one and does
        # not set it; then an answer in two parts waits 40 ms for the caller's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} on {host}: {error.strerror}. "
                f"Choose another: make up {variable}={port + 1}"
            ) from None
        listener.listen(2048)
        yield listener
