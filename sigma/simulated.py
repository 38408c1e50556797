"""Meta on this machine, for the demo of ``make up``: where it is, and whether it knows us."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from pathlib import Path
from urllib.parse import urlencode

from sigma.door import PortTaken
from sigma.engines.engine import UnableToStart

HOST = "127.0.0.1"
USUAL_PORT = 8090
VERSION = "v26.0"
SECONDS = 60.0


class NotSubscribed(UnableToStart):
    """The simulator started, but does not send its callbacks here."""


def choose_port(wanted: int | None) -> int:
    """Return the port for the simulator: the one asked for, else the usual or another free one.

    Raises:
        PortTaken: the one asked for is in use.
    """
    for port in (wanted or USUAL_PORT, 0):
        try:
            with socket.create_server((HOST, port)) as free:
                return int(free.getsockname()[1])
        except OSError as error:
            if wanted:
                raise PortTaken(
                    f"Port {wanted} for the simulator: {error.strerror}. "
                    f"Choose another: make up SIMULATOR_PORT={wanted + 1}"
                ) from None
    raise PortTaken("There is no free port for the simulator.")


def url(port: int) -> str:
    """Return the simulator's address."""
    return f"http://{HOST}:{port}"


def graph_url(port: int) -> str:
    """Return the address of its Graph API."""
    return f"{url(port)}/{VERSION}"


async def until_subscribed(port: int, folder: Path) -> None:
    """Wait until the simulator sends the demo's callbacks, which it does after the handshake.

    Raises:
        NotSubscribed: it never did.
    """
    demo = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    query = urlencode({"access_token": demo["access_token"]})
    path = f"/{VERSION}/{demo['waba_id']}/subscribed_apps?{query}"
    try:
        async with asyncio.timeout(SECONDS):
            while not await asyncio.to_thread(_is_subscribed, port, path):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise NotSubscribed(
            f"The simulator does not send callbacks after {SECONDS:.0f} s; "
            f"{folder / 'simulator.log'} says why."
        ) from None


def _is_subscribed(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return bool(json.loads(connection.getresponse().read()).get("data"))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
