"""One installation, one port: whether we may start here, and whether callers get through."""

from __future__ import annotations

import errno
import fcntl
import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sigma.engines.engine import UnableToStart

ANSWER_SECONDS, HIGHEST_PORT = 10.0, 65_535

# A host and a port.
Address = tuple[str, int]


class PortTaken(UnableToStart):
    """The port is in use by another program."""


class AlreadyRunning(UnableToStart):
    """Another ``make up`` runs on the same data."""


class FolderUnusable(UnableToStart):
    """The folder of the data cannot be written to."""


class HostUnusable(UnableToStart):
    """The address to listen on is none of this machine's."""


def status_of(address: Address, path: str) -> int:
    """Return the status that a server on this machine answers with; 0: it does not, or too late."""
    connection = http.client.HTTPConnection(*address, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def answers(address: Address, path: str) -> bool:
    """Whether a server on this machine takes calls, or turns them away because it has as many as it
    may have: one that hangs does neither.
    """
    connection = http.client.HTTPConnection(*address, timeout=ANSWER_SECONDS)
    try:
        connection.request("OPTIONS", path)
        return connection.getresponse().status > 0
    except (ConnectionResetError, BrokenPipeError):
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock on this data folder; the kernel drops it however we end.

    Raises:
        AlreadyRunning: somebody holds it.
        FolderUnusable: it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / "up.lock").open("w")
    except OSError as error:
        raise FolderUnusable(
            f"{folder}: {error.strerror}. Make it writable, "
            "or name another folder: make up SIGMA_HOME=/path/to/folder"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"'make up' is already running on {folder}. Stop it first (Ctrl-C there), "
                "or name another folder: make up SIGMA_HOME=/path/to/folder"
            ) from None
        yield


@contextmanager
def listening(host: str, port: int, *, variable: str = "PORT") -> Iterator[socket.socket]:
    """Listen from the start: the port is ours before anything else is done, and stays so.

    ``variable`` is make's name for the port, for whoever has to choose another.

    Raises:
        PortTaken: another program has it, or this user may not have it.
        HostUnusable: this machine has no such address.
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
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise HostUnusable(
                    f"HOST={host}: {error.strerror}. Use an address of this machine, "
                    "127.0.0.1 for itself alone, or 0.0.0.0 for everybody."
                ) from None
            raise taken(error, host, port, variable) from None
        listener.listen(2048)
        yield listener


def taken(error: OSError, host: str, port: int, variable: str) -> PortTaken:
    """Return what to say where a port cannot be had."""
    another = port + 1 if 1024 <= port < HIGHEST_PORT else 8000 + port % 1000
    return PortTaken(
        f"Port {port} on {host}: {error.strerror}. "
        f"Stop what uses it, or choose another: make up {variable}={another}"
    )
