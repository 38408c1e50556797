"""What ``make up`` is told: where to listen, and where to simulate Meta."""

from __future__ import annotations

import argparse
import ipaddress
import os
from dataclasses import dataclass

from sigma import simulated


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen, which address to tell the demo tenant for the sender service, and where to
    simulate Meta (``None``: nowhere, sends go to ``SIGMA_GRAPH_URL``).
    """

    host: str
    port: int
    sender_port: int
    simulator_port: int | None

    @property
    def is_private(self) -> bool:
        """Whether nobody but this machine reaches us."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def base_url(self) -> str:
        """Return the address to open on this machine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def sender_url(self) -> str:
        """Return the address of the sender service."""
        return f"http://127.0.0.1:{self.sender_port}"

    @property
    def simulator_url(self) -> str:
        """Return the address of the simulator; empty where there is none."""
        return simulated.url(self.simulator_port) if self.simulator_port else ""


def read_options() -> Options:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="make up", description="Run everything on this machine until Ctrl-C."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port of the web server")
    parser.add_argument("--sender-port", type=int, default=8081, help="port of the sender service")
    parser.add_argument(
        "--simulator-port", type=int,
        help=f"port of the simulated Meta ({simulated.USUAL_PORT}, or another if that is taken)",
    )  # fmt: skip
    chosen = parser.parse_args()
    # Who names a Graph API means it: Meta's own, or a simulator of his.
    given = os.environ.get("SIGMA_GRAPH_URL", "").strip()
    return Options(
        host=chosen.host,
        port=chosen.port,
        sender_port=chosen.sender_port,
        simulator_port=None if given else simulated.choose_port(chosen.simulator_port),
    )
