"""A stand-in for Meta on loopback: serves a media file the way the Graph API does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Reply:
    """What one path answers; bytes go out as they are, anything else as JSON. A declared length of
    -1 is none: the end of the connection is that of the body.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    declared_length: int | None = None

    @property
    def content(self) -> bytes:
        """The body as it goes out."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class Meta:
    """Replies by path, and a record of what was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked: list[Asked] = []
        self.url = ""

    @property
    def graph_url(self) -> str:
        """The base of the Graph API, version included."""
        return f"{self.url}/v26.0"

    def keep(self, media_id: str, content: bytes, **headers: str) -> None:
        """Have a file."""
        self.replies[f"/v26.0/{media_id}"] = Reply({"url": f"{self.url}/files/{media_id}"})
        self.replies[f"/files/{media_id}"] = Reply(content, headers=headers)


@contextmanager
def meta_on_loopback() -> Iterator[Meta]:
    """Serve until the test ends."""
    meta = Meta()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            meta.asked.append(Asked(parts.path, parse_qs(parts.query), dict(self.headers)))
            reply = meta.replies.get(parts.path, Reply({"error": {"code": 100}}, status=404))
            content = reply.content
            self.send_response(reply.status)
            length = len(content) if reply.declared_length is None else reply.declared_length
            told = {"Content-Length": str(length)} if length >= 0 else {}
            for name, value in {**told, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    meta.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield meta
    finally:
        server.shutdown()
        server.server_close()
