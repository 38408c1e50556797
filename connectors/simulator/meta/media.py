"""Files over HTTP: upload, descriptor, download, delete."""

from __future__ import annotations

import hmac
import re
import secrets
from email.message import Message

from connectors.simulator.meta.failures import GraphError, no_such_object
from connectors.simulator.meta.http import (
    MESSAGING,
    SUCCESS,
    GraphCall,
    GraphRoute,
    HttpAnswer,
    Request,
    Table,
    answer,
)
from connectors.simulator.meta.mediastore import StoredFile
from connectors.simulator.meta.simulator import Simulator

PATH = "whatsapp_business/attachments"
# How long an address of a file can be used.
ADDRESS_SECONDS = 300
NAME = re.compile(rb'name="([^"]*)"')
KEY = secrets.token_bytes(16)


def find(sim: Simulator, call: GraphCall, media_id: str) -> Table:
    """Return what can be done with a file.

    Raises:
        GraphError: 100 with subcode 33, no such file, or it has expired.
    """
    file = sim.media.find(media_id, sim.clock.now())
    number = call.argument("phone_number_id")
    if file is None or (number and number != file.phone_number_id):
        raise no_such_object(media_id)
    account, _ = sim.registry.numbers[file.phone_number_id]
    if call.token.accounts and account.id not in call.token.accounts:
        raise no_such_object(media_id)
    return TABLE


def upload(sim: Simulator, call: GraphCall) -> HttpAnswer:
    """Take a file as a form's part ``file``, its type in the part or in the field ``type``.

    Raises:
        GraphError: 100, 131053.
    """
    fields, types = _form(call.request)
    if fields.get("messaging_product") != b"whatsapp":
        raise GraphError(100, "The parameter messaging_product is required.")
    content = fields.get("file")
    if content is None:
        raise GraphError(100, "The parameter file is required.")
    mime_type = fields.get("type", b"").decode("latin-1") or types.get("file", "")
    file = sim.media.upload(call.number.id, mime_type, content, sim.clock.now())
    return answer({"id": file.id})


def download(sim: Simulator, request: Request) -> HttpAnswer:
    """Return a file's bytes at an address that the descriptor named, to a bearer only."""
    now = sim.clock.now()
    media_id, expires = request.query.get("mid", ""), request.query.get("ext", "")
    bearer = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")[2]
    if bearer not in sim.registry.tokens:
        return HttpAnswer(401, b"", b"text/plain")
    file = sim.media.find(media_id, now)
    is_signed = hmac.compare_digest(request.query.get("hash", ""), _signed(media_id, expires))
    if file is None or not is_signed or int(expires) <= now:
        return HttpAnswer(404, b"", b"text/plain")
    return HttpAnswer(200, file.content, file.mime_type.encode("latin-1"))


def descriptor(sim: Simulator, file: StoredFile, origin: str) -> dict[str, object]:
    """Return Meta's description of a file."""
    expires = str(int(sim.clock.now()) + ADDRESS_SECONDS)
    query = f"mid={file.id}&ext={expires}&hash={_signed(file.id, expires)}"
    return {
        "messaging_product": "whatsapp",
        "url": f"{origin}/{PATH}/?{query}",
        "mime_type": file.mime_type,
        "sha256": file.sha256,
        "file_size": len(file.content),
        "id": file.id,
    }


def _get(sim: Simulator, call: GraphCall) -> HttpAnswer:
    file = sim.media.find(call.request.parts[0], sim.clock.now())
    assert file is not None  # noqa: S101 - by find
    return answer(descriptor(sim, file, call.request.origin))


def _delete(sim: Simulator, call: GraphCall) -> HttpAnswer:
    sim.media.delete(call.request.parts[0])
    return SUCCESS


def _signed(media_id: str, expires: str) -> str:
    return hmac.digest(KEY, f"{media_id}:{expires}".encode(), "sha256").hex()[:32]


def _form(request: Request) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return a multipart form's fields and the types of its files."""
    header = Message()
    header["content-type"] = request.content_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str):
        raise GraphError(100, "A multipart form is required.")
    fields: dict[str, bytes] = {}
    types: dict[str, str] = {}
    for part in (b"\r\n" + request.body).split(b"\r\n--" + boundary.encode())[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = NAME.search(head)
        if name is None:
            continue
        key = name[1].decode("utf-8", "replace")
        fields[key] = content
        for line in head.split(b"\r\n"):
            field, _, value = line.partition(b":")
            if field.strip().lower() == b"content-type":
                types[key] = value.strip().decode("latin-1")
    return fields, types


TABLE: Table = {
    ("GET", ""): GraphRoute(_get, MESSAGING),
    ("DELETE", ""): GraphRoute(_delete, MESSAGING),
}
