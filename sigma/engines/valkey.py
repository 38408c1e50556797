"""The embedded Valkey: the broker, the rate buckets and the caches, in ``<home>/valkey``."""

from __future__ import annotations

import secrets
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

from lib.files import write_private
from sigma.engines.engine import Engine, choose_port, valkey_server, wait_until_unused

ANSWER_SECONDS = 5.0


def prepare(home: Path, *, kept_url: str = "", durable: bool = True) -> Engine:
    """Write the configuration and return the engine that runs with it.

    ``kept_url`` is the URL of the last start: its password is kept, and its port where that is
    free.

    Raises:
        EngineNotInstalled: the wheel is absent.
    """
    kept = urlsplit(kept_url)
    password = kept.password or secrets.token_urlsafe(24)
    folder = home / "valkey"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Before a port is chosen: the server of an earlier start may hold it a moment longer.
    wait_until_unused(folder, "valkey-server")
    port = choose_port(kept.port)
    # A file, because the command line would show the password to every user of the machine.
    write_private(folder / "valkey.conf", _configuration(folder, port, password, durable))
    return Engine(
        name="valkey",
        title="Valkey",
        url=f"redis://:{password}@127.0.0.1:{port}/0",
        argv=(str(valkey_server()), str(folder / "valkey.conf")),
        stop_signal=signal.SIGTERM,
        answers=lambda: _answers(port, password),
        settle=lambda: wait_until_unused(folder, "valkey-server"),
    )


def _configuration(folder: Path, port: int, password: str, durable: bool) -> str:
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            f'dir "{folder}"',
            f"appendonly {'yes' if durable else 'no'}",
            "appendfsync everysec",
            'save ""',
            # A full broker must refuse: evicting would lose rate buckets and wake-ups in silence.
            "maxmemory-policy noeviction",
            "loglevel warning",
            "",
        ]
    )


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            return connection.makefile("rb").read(len(b"+OK\r\n+PONG\r\n")).endswith(b"+PONG\r\n")
    except OSError:
        return False
