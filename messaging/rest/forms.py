"""A send with its file, as a form: the fields of a send, and those of its file beside them."""

from __future__ import annotations

from typing import Any

from messaging import filetypes
from messaging.rest.intake import Brought

FIELDS_OF_THE_FILE = ("caption", "filename", "kind")
# As what OpenAPI describes the form; the fields are those of a send.
FORM: dict[str, Any] = {
    "type": "object",
    "required": ["workspace_id", "file"],
    "properties": {
        **{
            name: {"type": "string", "format": "uuid"}
            for name in ("workspace_id", "conversation_id", "contact_id", "reply_to")
        },
        **{
            name: {"type": "string"}
            for name in (
                "recipient_phone",
                "recipient_user_id",
                "idempotency_key",
                "scheduled_at",
                "expires_at",
            )
        },
        "file": {"type": "string", "format": "binary"},
        "caption": {"type": "string", "description": "Of pictures, films and documents."},
        "filename": {"type": "string", "description": "A document's, instead of its own."},
        "kind": {"type": "string", "description": "Unless it is that of the file's type."},
        "voice": {"type": "boolean", "description": "Whether audio is a voice note."},
    },
}


def send_in(form: Brought, media_id: str) -> dict[str, Any]:
    """Return the send in a form, with the file under its id, in the words of JSON."""
    given: dict[str, Any] = dict(form.fields)
    media = {name: given.pop(name) for name in FIELDS_OF_THE_FILE if given.get(name)}
    for name in FIELDS_OF_THE_FILE:
        given.pop(name, None)  # an empty one says nothing
    media.setdefault("kind", filetypes.TYPES[form.file.mime_type].kind.value)
    if media["kind"] == "document" and form.file.name:
        media.setdefault("filename", form.file.name)
    if (voice := given.pop("voice", "")) and voice != "false":
        media["voice"] = True if voice == "true" else voice
    return {**given, "media": {**media, "id": media_id}}
