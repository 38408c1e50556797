"""A virus scanner that speaks INSTREAM: nothing is served but what it passes."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.whatsapp.media import MediaDownload
from messaging import scanning, sealed_storage
from messaging.scanning import Infected, ScannerAway
from messaging.sealed_storage import StorageAway
from sigma import env
from sigma.env import Env, InvalidSetting
from tests.conftest import Cast
from tests.files.conftest import stored
from tests.files.samples import PDF
from tests.files.test_archive import _archives, brought, fetch_all, state_of
from tests.messaging.conftest import body, get
from tests.messaging.meta import Meta
from workspaces.models import ArchiveKey

__all__ = ("_archives",)
pytestmark = pytest.mark.django_db
# https://www.eicar.org/download-anti-malware-testfile/ , in two parts so that this file is none.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class Clamd:
    """A scanner: reads as clamd does, and finds EICAR."""

    def __init__(self) -> None:
        self.scanned: list[bytes] = []
        self.most = 100_000_000
        self.says = ""

    def handle(self, request: socketserver.StreamRequestHandler) -> None:
        """Read a file and give the verdict."""
        reader, writer = request.rfile, request.wfile
        assert reader.read(10) == b"zINSTREAM\0"
        content = bytearray()
        while length := int.from_bytes(reader.read(4)):
            content += reader.read(length)
            if len(content) > self.most:
                writer.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        self.scanned.append(bytes(content))
        found = "Win.Test.EICAR_HDB-1 FOUND" if EICAR in content else "OK"
        writer.write(f"{self.says or f'stream: {found}'}\0".encode())


@pytest.fixture(params=["tcp", "unix"])
def clamd(request: Any, settings: Any, tmp_path_factory: Any) -> Iterator[Clamd]:
    """A scanner that listens."""
    scanner = Clamd()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            scanner.handle(self)

    if request.param == "tcp":
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        settings.SIGMA_SCANNER = ("127.0.0.1", server.server_address[1], "")
    else:
        path = str(tmp_path_factory.mktemp("run") / "clamd.ctl")
        server = socketserver.ThreadingUnixStreamServer(path, Handler)
        settings.SIGMA_SCANNER = ("", 0, path)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    with server:
        yield scanner
        server.shutdown()


def refused(file: Any, cast: Cast) -> tuple[int, str]:
    answer = get(f"/media/{file.id}", cast.api_key)
    return answer.status_code, answer.json()["error"]["code"]


def test_a_file_that_it_refuses_is_neither_kept_nor_served(
    acme: Cast, globex: Cast, meta: Meta, folder: Path, clamd: Clamd
) -> None:
    bad = PDF + bytes(100_000) + EICAR
    meta.keep("777", bad)
    meta.keep("1", PDF)
    infected, clean = brought(acme, bad), brought(globex, number=1)

    assert (fetch_all(), fetch_all(later=timedelta(days=1))) == (2, 0)
    assert (state_of(infected), state_of(clean)) == (("REFUSED", "INFECTED"), ("KEPT", None))
    assert sorted(clamd.scanned) == sorted([bad, PDF])
    assert len(stored(folder)) == 1
    assert refused(infected, acme) == (403, "MEDIA_REFUSED")
    assert body(get(f"/media/{clean.id}", globex.api_key)) == PDF
    assert len(clamd.scanned) == 2


def test_without_an_archive_it_is_asked_when_somebody_asks(
    acme: Cast, globex: Cast, meta: Meta, folder: Path, clamd: Clamd
) -> None:
    for cast in (acme, globex):
        cast.tenant.archive = ArchiveKey.OFF
        cast.tenant.save()
    meta.keep("777", PDF + EICAR)
    meta.keep("1", PDF * 10_000)
    infected, clean = brought(acme, PDF + EICAR), brought(globex, PDF * 10_000, number=1)

    assert [refused(infected, acme) for _ in "12"] == [(403, "MEDIA_REFUSED")] * 2
    assert state_of(infected) == ("REFUSED", "INFECTED")
    answer = get(f"/media/{clean.id}", globex.api_key)
    assert answer["Content-Length"] == str(len(PDF) * 10_000)
    assert body(answer) == PDF * 10_000
    assert len(clamd.scanned) == 2
    assert stored(folder) == []


@pytest.mark.parametrize("trouble", ["away", "limit", "nonsense"])
def test_nothing_is_served_unless_it_says_so(
    acme: Cast, meta: Meta, folder: Path, clamd: Clamd, settings: Any, trouble: str
) -> None:
    meta.keep("777", PDF)
    file, right = brought(acme), settings.SIGMA_SCANNER
    if trouble == "away":
        settings.SIGMA_SCANNER = ("127.0.0.1", 9, "")
    elif trouble == "limit":
        clamd.most = 10
    else:
        clamd.says = "stream: PERHAPS"

    fetch_all()
    assert state_of(file) == ("PENDING", "SCANNER_AWAY")
    assert refused(file, acme) == (503, "NOT_SCANNED")
    assert stored(folder) == []

    settings.SIGMA_SCANNER, clamd.most, clamd.says = right, 10**8, ""
    assert fetch_all(later=timedelta(seconds=31)) == 1
    assert state_of(file) == ("KEPT", None)
    assert body(get(f"/media/{file.id}", acme.api_key)) == PDF


def test_what_breaks_off_is_not_served_for_whole(acme: Cast, meta: Meta, clamd: Clamd) -> None:
    meta.keep("777", PDF)
    meta.replies["/files/777"].declared_length = len(PDF) + 5
    file = brought(acme)

    assert refused(file, acme) == (503, "PLATFORM_UNAVAILABLE")
    assert clamd.scanned == []


def test_a_folder_that_is_away_keeps_no_connection(
    acme: Cast, meta: Meta, clamd: Clamd, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    closed: list[MediaDownload] = []

    def away() -> None:
        raise StorageAway("away")

    monkeypatch.setattr(sealed_storage, "temporary", away)
    monkeypatch.setattr(MediaDownload, "close", lambda one: closed.append(one))

    assert refused(file, acme) == (503, "UNAVAILABLE")
    assert len(closed) == 1
    assert clamd.scanned == []


def test_a_verdict_before_the_end_is_none_unless_it_refuses(settings: Any) -> None:
    settings.SIGMA_SCANNER = ("x", 1, "")
    for says, outcome in ((b"stream: OK\0", ScannerAway), (b"stream: X FOUND\0", Infected)):
        ours, theirs = scanning.socket.socketpair()
        theirs.sendall(says)
        theirs.shutdown(scanning.socket.SHUT_RD)  # the rest is refused
        with pytest.MonkeyPatch.context() as patch, theirs, pytest.raises(outcome):
            patch.setattr(scanning, "_connected", lambda _, ours=ours: ours)
            scanning.scan([EICAR] * 9)
    ours, theirs = scanning.socket.socketpair()
    theirs.sendall(b"stream: OK")  # and was cut
    theirs.shutdown(scanning.socket.SHUT_WR)
    with pytest.MonkeyPatch.context() as patch, theirs, pytest.raises(ScannerAway):
        patch.setattr(scanning, "_connected", lambda _: ours)
        scanning.scan([EICAR])


def test_without_a_scanner_nothing_is_asked(settings: Any) -> None:
    settings.SIGMA_SCANNER = None
    scanning.scan(iter([EICAR]))


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_what_it_gets_is_the_file(pieces: list[bytes]) -> None:
    """However it is cut; an empty piece is not the end."""
    with pytest.MonkeyPatch.context() as patch, Pair() as pair:
        patch.setattr(scanning, "_connected", lambda _: pair.ours)
        patch.setattr(scanning.settings, "SIGMA_SCANNER", ("x", 1, ""), raising=False)
        try:
            scanning.scan([*pieces, b"X" * 70_000])
        except (Infected, ScannerAway):
            pytest.fail("it was clean")
        assert pair.clamd.scanned == [b"".join(pieces) + b"X" * 70_000]


class Pair:
    """A scanner at the other end of a line."""

    def __enter__(self) -> Pair:
        self.clamd = Clamd()
        self.ours, self.theirs = scanning.socket.socketpair()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def _serve(self) -> None:
        clamd = self.clamd

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                clamd.handle(self)

        Handler(self.theirs, None, None)  # type: ignore[arg-type]
        self.theirs.close()

    def __exit__(self, *_: object) -> None:
        self.thread.join()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("tcp://clamd:3310", ("clamd", 3310, "")),
        ("tcp://[::1]:3310", ("::1", 3310, "")),
        ("unix:/run/clamav/clamd.ctl", ("", 0, "/run/clamav/clamd.ctl")),
        ("unix:///run/clamd.ctl", ("", 0, "/run/clamd.ctl")),
        ("clamd:3310", InvalidSetting),
        ("tcp://clamd", InvalidSetting),
        ("tcp://clamd:99999", InvalidSetting),
        ("http://clamd:3310", InvalidSetting),
    ],
)
def test_the_setting_names_an_address(value: str, expected: Any) -> None:
    given_env = Env({"SIGMA_SCANNER": value})
    if expected is InvalidSetting:
        with pytest.raises(InvalidSetting):
            env.scanner(given_env)
    else:
        assert env.scanner(given_env) == expected
