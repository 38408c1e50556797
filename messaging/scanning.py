"""Whether a file is fit to be served, as a virus scanner says: the hook for clamd, or whatever else
speaks its INSTREAM command.

https://docs.clamav.net/manual/Usage/Scanning.html (clamd); `man clamd`, "COMMANDS": INSTREAM takes
pieces, each after its length in four bytes, big-endian, and a length of zero ends the file.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings

logger = logging.getLogger("sigma.whatsapp.files")
# To connect, and for each piece or the answer: a scanner unpacks what it was given.
SECONDS = 60.0
LENGTH = 4
MOST_ANSWER = 4_096
# What an answer ends with; without, it was cut.
ENDS = b"\0\r\n"
# What a scanner calls what it found; nothing else of its answer is kept.
PLAIN = re.compile(r"[^A-Za-z0-9._/-]+")


class ScannerAway(Exception):
    """The virus scanner gives no verdict, and without one no file is served; try again."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Infected(Exception):
    """The virus scanner refuses this file; it is not served."""

    def __init__(self, found: str = "") -> None:
        super().__init__(self.__doc__)
        self.found = found  # as the scanner calls it


class ScannerAddress(NamedTuple):
    """Where a scanner listens: a host and a port, or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""


def is_on() -> bool:
    """Whether files are scanned."""
    return settings.SIGMA_SCANNER is not None


def scan(pieces: Iterable[bytes]) -> None:
    """Ask the scanner about a file; return where it finds nothing, or where there is no scanner.

    Raises:
        Infected: it refuses the file.
        ScannerAway: it does not say.
    """
    if settings.SIGMA_SCANNER is None:
        return
    try:
        with _connected(ScannerAddress(*settings.SIGMA_SCANNER)) as line:
            is_whole, answer = _asked(line, pieces)
    except OSError as error:
        logger.error("whatsapp scanner away", extra={"error": type(error).__name__})
        raise ScannerAway from error
    said = answer.rstrip(ENDS)
    verdict = said.decode("utf-8", "replace").removeprefix("stream: ")
    if verdict == "OK" and is_whole and said != answer:
        return
    if verdict.endswith(" FOUND"):
        raise Infected(PLAIN.sub("_", verdict.removesuffix(" FOUND"))[:100])
    # Such as "INSTREAM size limit exceeded. ERROR": StreamMaxLength of clamd is too small.
    logger.error("whatsapp scanner gives no verdict", extra={"says": PLAIN.sub(" ", verdict)[:100]})
    raise ScannerAway


def _connected(address: ScannerAddress) -> socket.socket:
    if not address.path:
        return socket.create_connection((address.host, address.port), timeout=SECONDS)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(SECONDS)
    try:
        line.connect(address.path)
    except BaseException:
        line.close()
        raise
    return line


def _asked(line: socket.socket, pieces: Iterable[bytes]) -> tuple[bool, bytes]:
    """Send a file; return whether all of it went, and the answer, which may come before that: then
    nobody reads the rest.
    """
    is_whole = True
    try:
        line.sendall(b"zINSTREAM\0")
        for piece in pieces:
            if piece:  # a length of zero is the end
                line.sendall(len(piece).to_bytes(LENGTH) + piece)
        line.sendall(bytes(LENGTH))
    except (BrokenPipeError, ConnectionResetError):
        is_whole = False  # a refusal counts even so
    answer = bytearray()
    while not answer.endswith(b"\0") and len(answer) < MOST_ANSWER:
        data = line.recv(MOST_ANSWER)
        if not data:
            break
        answer += data
    return is_whole, bytes(answer)
