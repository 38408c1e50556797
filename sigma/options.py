"""What ``make up`` is told: where to listen, and where to simulate Meta."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from sigma import simulated
from sigma.door import HIGHEST_PORT
from sigma.engines.engine import UnableToStart

# Addresses to listen on that stand for all of this machine's.
EVERYBODY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not listened on


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
    def local_host(self) -> str:
        """Return the address at which this machine reaches what listens on ``host``."""
        return "127.0.0.1" if self.host in EVERYBODY else self.host

    @property
    def base_url(self) -> str:
        """Return the address to open on this machine."""
        return self._url(self.port)

    @property
    def sender_url(self) -> str:
        """Return the address of the sender service."""
        return self._url(self.sender_port)

    def _url(self, port: int) -> str:
        host = f"[{self.local_host}]" if ":" in self.local_host else self.local_host
        return f"http://{host}:{port}"

    @property
    def simulator_url(self) -> str:
        """Return the address of the simulator; empty where there is none."""
        return simulated.url(self.simulator_port) if self.simulator_port else ""


class WrongOption(UnableToStart):
    """``make up`` was given something that it cannot use."""


class _Parser(argparse.ArgumentParser):
    """Say what is wrong in one sentence, as everything else that prevents a start."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise WrongOption(f"{message[:1].upper()}{message[1:]}.")


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Return the options of the command line.

    Raises:
        WrongOption: one cannot be used.
        sigma.door.PortTaken: the simulator's port cannot be had.
    """
    parser = _Parser(prog="make up", description="Run everything on this machine until Ctrl-C.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=8000, help="port of the web server")
    parser.add_argument("--sender-port", type=_port, default=8081, help="of the sender service")
    parser.add_argument(
        "--simulator-port",
        type=_port,
        help=f"port of the simulated Meta ({simulated.USUAL_PORT}, or another if that is taken)",
    )
    chosen = parser.parse_args(arguments)
    # Who names a Graph API means it: Meta's own, or a simulator of theirs.
    given = os.environ.get("SIGMA_GRAPH_URL", "").strip()
    return Options(
        host=chosen.host,
        port=chosen.port,
        sender_port=chosen.sender_port,
        simulator_port=None if given else simulated.choose_port(chosen.simulator_port),
    )


def _port(text: str) -> int:
    """Return a TCP port, for argparse, which turns the error into a sentence."""
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= HIGHEST_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port; use one from 1 to {HIGHEST_PORT}")
