"""Meta on this machine, for the demo of ``make up``: where it is, and whether it knows us."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from sigma.door import PortTaken, taken

HOST = "127.0.0.1"
USUAL_PORT = 8090
VERSION = "v26.0"

# They asked for their results, so the demo may answer them with a text for a day (contract, B1).
PERSON = "+27711558396"
QUESTION = "Hello, is my evaluation ready?"


NEWEST = (
    '{ messages(workspaceId: "WORKSPACE" platform: WHATS_APP first: 1 direction: INBOUND '
    "orderBy: { timestamp: DESC }) { nodes { id } } }"
)
READ_TEMPLATES = (
    'mutation { syncMessageTemplates(input: { workspaceId: "WORKSPACE" }) { success } }'
)
READ_NUMBER = 'mutation { syncBusinessNumber(input: { workspaceId: "WORKSPACE" }) { success } }'
NUMBER = '{ businessNumber(workspaceId: "WORKSPACE") { syncedAt } }'


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
                raise taken(error, HOST, wanted, "SIMULATOR_PORT") from None
    raise PortTaken("There is no free port for the simulator.")


def url(port: int) -> str:
    """Return the simulator's address."""
    return f"http://{HOST}:{port}"


def graph_url(port: int) -> str:
    """Return the address of its Graph API."""
    return f"{url(port)}/{VERSION}"


class DemoWorld:
    """The demo's side of the simulator: what has to be so before the demo can be used."""

    def __init__(self, port: int, base_url: str, folder: Path) -> None:
        self._port, self._base_url = port, base_url
        self._demo = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
        self._before: str | None = None
        self._wanted = False

    def sends_callbacks(self) -> bool:
        """Whether the simulator sends the demo's callbacks, which it does after the handshake."""
        query = urlencode({"access_token": self._demo["access_token"]})
        path = f"/{VERSION}/{self._demo['waba_id']}/subscribed_apps?{query}"
        try:
            with urlopen(f"{url(self._port)}{path}", timeout=5) as answer:  # noqa: S310
                return bool(json.loads(answer.read()).get("data"))
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def has_templates(self) -> bool:
        """Let the demo's templates be read; whether that was done."""
        return bool((self._ask(READ_TEMPLATES).get("syncMessageTemplates") or {}).get("success"))

    def has_number(self) -> bool:
        """Let the demo's number be read, by a worker; whether that was done."""
        self._wanted = self._wanted or bool(self._ask(READ_NUMBER).get("syncBusinessNumber"))
        return bool((self._ask(NUMBER).get("businessNumber") or {}).get("syncedAt"))

    def somebody_wrote(self) -> bool:
        """Let a customer of the demo write; whether that is stored: then they may be answered."""
        newest = self._newest()
        if newest is None or self._before is not None:
            return newest not in (None, self._before)
        said = {"phone_number_id": self._demo["phone_number_id"], "from": PERSON, "text": QUESTION}
        with suppress(OSError):
            _post(f"{url(self._port)}/sim/inbound", said)
            self._before = newest
        return False

    def _newest(self) -> str | None:
        """Return the id of the newest message that a customer wrote; empty: none was written."""
        messages = self._ask(NEWEST).get("messages")
        if messages is None:
            return None
        return str(messages["nodes"][0]["id"]) if messages["nodes"] else ""

    def _ask(self, document: str) -> Mapping[str, Any]:
        """Return the data of a GraphQL answer; nothing where there is none yet."""
        query = {"query": document.replace("WORKSPACE", self._demo["workspace_id"])}
        try:
            answer = _post(f"{self._base_url}/graphql", query, key=self._demo["api_key"])
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        return answer.get("data") or {}


def _post(address: str, body: object, *, key: str = "") -> Any:
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - of this machine
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.loads(answer.read())
