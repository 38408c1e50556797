"""Meta on this machine, for the demo of ``make up``: where it is, and whether it knows us."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from sigma.door import PortTaken
from sigma.engines.engine import UnableToStart

HOST = "127.0.0.1"
USUAL_PORT = 8090
VERSION = "v26.0"
SECONDS = 60.0


# He asked for his results, so the demo may answer him with a text for a day (contract, B1).
PERSON = "+27711558396"
QUESTION = "Hello, is my evaluation ready?"


NEWEST = (
    '{ messages(workspaceId: "%s" platform: WHATS_APP first: 1 direction: INBOUND '
    "orderBy: { timestamp: DESC }) { nodes { id } } }"
)


class NobodyWrote(UnableToStart):
    """The simulated customer's message did not arrive."""


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


async def let_somebody_write(port: int, base_url: str, folder: Path) -> None:
    """Let a customer of the demo write, and wait until that is stored: then he may be answered.

    Raises:
        NobodyWrote: it never was.
    """
    demo = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    said = {"phone_number_id": demo["phone_number_id"], "from": PERSON, "text": QUESTION}
    before = await asyncio.to_thread(_newest, base_url, demo)
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.to_thread(_post, f"{url(port)}/sim/inbound", said)
            while await asyncio.to_thread(_newest, base_url, demo) in ("", before):
                await asyncio.sleep(0.1)
    except (TimeoutError, OSError) as error:
        raise NobodyWrote(
            f"The simulated customer's message did not arrive ({type(error).__name__}); "
            f"{folder / 'simulator.log'} and the lines above say why."
        ) from None


def _newest(base_url: str, demo: Mapping[str, str]) -> str:
    """Return the id of the newest message that a customer of the demo wrote; empty: none."""
    query = NEWEST % demo["workspace_id"]
    answer = _post(f"{base_url}/graphql", {"query": query}, key=demo["api_key"])
    nodes = answer["data"]["messages"]["nodes"]
    return str(nodes[0]["id"]) if nodes else ""


def _post(address: str, body: object, *, key: str = "") -> Any:
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - of this machine
    with urlopen(request, timeout=5) as answer:  # noqa: S310
        return json.loads(answer.read())


def _is_subscribed(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return bool(json.loads(connection.getresponse().read()).get("data"))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
