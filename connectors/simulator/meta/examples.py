"""The Resumable Upload API: sessions that take a file's bytes, and the handles of whole files, by
which media headers of templates name their examples.

https://developers.facebook.com/docs/graph-api/guides/upload
Meta says nothing of how long sessions and handles live; here it is a day.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator

from connectors.simulator.meta.failures import GraphError, no_such_object
from connectors.simulator.meta.http import GraphCall, GraphRoute, HttpAnswer, Table, answer
from connectors.simulator.meta.mediastore import DAY, ExampleHandle, ExampleSession
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import Json

PREFIX = "upload:"
LARGEST = 100 * 1024 * 1024
# How a file of each type begins: where, and with which bytes.
BEGINNINGS = {
    "application/pdf": (0, b"%PDF-"),
    "image/jpeg": (0, b"\xff\xd8\xff"),
    "image/jpg": (0, b"\xff\xd8\xff"),
    "image/png": (0, b"\x89PNG"),
    "video/mp4": (4, b"ftyp"),
}
FORMATS = {
    "IMAGE": ("image/jpeg", "image/jpg", "image/png"),
    "VIDEO": ("video/mp4",),
    "GIF": ("video/mp4",),
    "DOCUMENT": ("application/pdf",),
}
NO_EXAMPLE = 2388273


def begin(sim: Simulator, call: GraphCall) -> HttpAnswer:
    """Begin a session.

    Raises:
        GraphError: 100, name, length or type are missing or are none.
    """
    kind, length = call.argument("file_type"), call.argument("file_length")
    if not (kind and length and call.argument("file_name")):
        raise GraphError(
            100, title="The parameters file_name, file_length and file_type are required"
        )
    if kind not in BEGINNINGS:
        raise GraphError(100, title=f"Param file_type must be one of {{{', '.join(BEGINNINGS)}}}")
    if not length.isdecimal() or not 0 < int(length) <= LARGEST:
        raise GraphError(100, title=f"Param file_length must be a number from 1 to {LARGEST}")
    session = ExampleSession(
        f"{PREFIX}{secrets.token_urlsafe(24)}",
        secrets.token_urlsafe(16),
        call.app.id,
        kind,
        int(length),
        sim.clock.now() + DAY,
    )
    sim.example_sessions[session.id] = session
    return answer({"id": session.name})


def find(sim: Simulator, call: GraphCall, name: str) -> Table:
    """Return what can be done with a session.

    Raises:
        GraphError: 100 with subcode 33, no such session, or it is another app's.
    """
    _session(sim, call, name)
    return TABLE


def check_headers(sim: Simulator, app_id: str, components: list[Json]) -> list[Json]:
    """Return a template's components as they are listed, with addresses in the places of handles.

    Raises:
        GraphError: 100 with subcode 2388273, a header of a file has no handle of such a file.
    """
    listed: list[Json] = []
    for part in components:
        cards = part.get("cards")
        if isinstance(cards, list):
            part = {**part, "cards": [_checked_card(sim, app_id, card) for card in cards]}
        listed.append(_checked(sim, app_id, part))
    return listed


def _checked_card(sim: Simulator, app_id: str, card: object) -> object:
    parts = card.get("components") if isinstance(card, dict) else None
    if not isinstance(card, dict) or not isinstance(parts, list):
        return card
    found = [_checked(sim, app_id, part) if isinstance(part, dict) else part for part in parts]
    return {**card, "components": found}


def _checked(sim: Simulator, app_id: str, part: Json) -> Json:
    format_ = str(part.get("format", "")).upper()
    if str(part.get("type", "")).upper() != "HEADER" or format_ not in FORMATS:
        return part
    example = part.get("example")
    given = example.get("header_handle") if isinstance(example, dict) else None
    handles = given if isinstance(given, list) else []
    now = sim.clock.now()
    known = [sim.example_handles.get(str(one)) for one in handles]
    fits = known and all(
        one and one.app_id == app_id and one.expires_at > now and one.file_type in FORMATS[format_]
        for one in known
    )
    if not fits:
        raise GraphError(
            100,
            f"A header of the format {format_} needs an example: header_handle has to be the "
            "handle of such a file, by the Resumable Upload API.",
            subcode=NO_EXAMPLE,
        )
    return {**part, "example": {"header_handle": [_address(now)]}}


def _address(now: float) -> str:
    expires = f"{int(now + 30 * DAY):x}"
    return f"https://scontent.whatsapp.net/v/{secrets.token_hex(8)}_n.bin?oh=01&oe={expires}"


def _session(sim: Simulator, call: GraphCall, name: str) -> ExampleSession:
    session = sim.example_sessions.get(name)
    is_signed = session and call.request.query.get("sig") == session.signature
    if session is None or not is_signed or session.app_id != call.app.id:
        raise no_such_object(name)
    if session.expires_at <= sim.clock.now():
        raise no_such_object(name)
    return session


def _offset(sim: Simulator, call: GraphCall) -> HttpAnswer:
    session = _session(sim, call, call.request.parts[0])
    return answer({"id": session.name, "file_offset": len(session.content)})


def _take(sim: Simulator, call: GraphCall) -> HttpAnswer:
    """Take bytes. Of a request that was cut off, those that came count."""
    session, request = _session(sim, call, call.request.parts[0]), call.request
    offset = request.headers.get(b"file_offset", b"").decode("latin-1")
    if offset != str(len(session.content)):
        raise GraphError(100, title=f"The header file_offset has to be {len(session.content)}")
    if len(session.content) + len(request.body) > session.length:
        raise GraphError(100, title="More bytes came than file_length says")
    session.content += request.body
    if len(session.content) < session.length:
        return _offset(sim, call)
    start, magic = BEGINNINGS[session.file_type]
    if bytes(session.content[start : start + len(magic)]) != magic:
        raise GraphError(100, title=f"The file is not of the type {session.file_type}")
    handle = "".join(_handle_parts(session))
    sim.example_handles[handle] = ExampleHandle(
        session.app_id, session.file_type, session.expires_at
    )
    return answer({"h": handle})


def _handle_parts(session: ExampleSession) -> Iterator[str]:
    yield f"4::{base64.b64encode(session.file_type.encode()).decode()}:"
    yield f"{secrets.token_urlsafe(48)}:e:{int(session.expires_at)}:{session.app_id}:122100000001"


# As with the app itself, no permission is needed.
TABLE: Table = {("GET", ""): GraphRoute(_offset, ""), ("POST", ""): GraphRoute(_take, "")}
