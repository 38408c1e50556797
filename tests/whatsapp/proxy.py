"""A TCP proxy between the receiver and PostgreSQL that can be cut, frozen and mended."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Pass bytes both ways; as long as it is frozen they wait, and no side is notified."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target, self._lines = target, set[socket.socket]()
        self._flows = {"in": threading.Event(), "out": threading.Event()}
        self._is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.mend()
        self._start(self._accept)

    def cut(self) -> None:
        """End every connection and refuse new ones: the server is stopped."""
        self._is_cut = True
        self._hang_up()

    def freeze(self, *directions: str) -> None:
        """Hold what is sent ``in`` to the server, ``out`` of it, or both: the server hangs."""
        for direction in directions or ("in", "out"):
            self._flows[direction].clear()

    def mend(self) -> None:
        """Let everything pass again."""
        self._is_cut = False
        for flow in self._flows.values():
            flow.set()

    def close(self) -> None:
        """Stop for good."""
        self._listener.close()
        self.mend()
        self._hang_up()

    def _hang_up(self) -> None:
        for line in list(self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                if self._is_cut:
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._lines |= {client, server}
                self._start(self._pump, client, server, self._flows["in"])
                self._start(self._pump, server, client, self._flows["out"])

    def _pump(self, source: socket.socket, sink: socket.socket, flow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                flow.wait()
                sink.sendall(data)
        for line in (source, sink):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            self._lines.discard(line)

    @staticmethod
    def _start(run: object, *arguments: object) -> None:
        threading.Thread(target=run, args=arguments, daemon=True).start()  # type: ignore[arg-type]
