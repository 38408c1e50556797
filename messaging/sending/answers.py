"""What was answered to a request with the same key: the same again, or that they differ."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import msgspec

from lib.sql import select
from messaging.sending.drafts import Draft
from messaging.sending.refusals import SendErrorCode, UnableToSend
from workspaces import keys


class Queued(NamedTuple):
    """A message that was accepted: now, or (``is_repeat``) when it was first asked for."""

    message_id: UUID
    status: str
    is_repeat: bool = False


class _Answered(NamedTuple):
    client_reference: str
    request_digest: bytes
    id: UUID
    status: str


FIND = """
SELECT client_reference, request_digest, id, status FROM messages
WHERE tenant_id = %s AND workspace_id = %s AND client_reference = ANY(%s)
"""


def digest_of(draft: Draft, salt: bytes) -> bytes:
    """Return what tells two requests apart: keyed, since it covers a phone number.

    Who writes a number or a time in another way asks for the same; ``force`` changes nothing in
    what is sent.
    """
    request = msgspec.structs.replace(
        draft.request, recipient=draft.recipient, idempotency_key=None, force=False
    )
    kind = type(request.content).__name__
    canonical = msgspec.json.encode([kind, request], order="sorted")
    return hmac.digest(salt, b"request:" + canonical, "sha256")


def reference_of(key: str, salt: bytes) -> str:
    """Return what is kept of a key: callers may make theirs of a phone number."""
    return hmac.digest(salt, b"key:" + key.encode("utf-8", "replace"), "sha256").hex()


class Answers:
    """The answers that some requests to a workspace were given before, by key."""

    def __init__(self, *, tenant_id: UUID, workspace_id: UUID) -> None:
        self._tenant_id, self._workspace_id = tenant_id, workspace_id
        self._salt = keys.salt(tenant_id)
        self._known: dict[str, _Answered] = {}

    def load(self, drafts: Iterable[Draft]) -> None:
        """Read what was answered under the keys of some drafts, as it stands now."""
        references = {found for draft in drafts if (found := self.reference(draft))}
        parameters = [self._tenant_id, self._workspace_id, list(references)]
        for row in select(_Answered, FIND, parameters) if references else ():
            self._known[row.client_reference] = row

    def reference(self, draft: Draft) -> str | None:
        """Return what is kept of a request's key; ``None``: it has none."""
        key = draft.request.idempotency_key
        return reference_of(key, self._salt) if key else None

    def digest(self, draft: Draft) -> bytes | None:
        """Return what is kept of a request to compare others with; ``None``: it has no key."""
        return digest_of(draft, self._salt) if draft.request.idempotency_key else None

    def answer(self, draft: Draft) -> Queued | UnableToSend | None:
        """Return the answer to a well-formed request that was asked for before."""
        known = self._known.get(self.reference(draft) or "")
        if known is None:
            return None
        digest = self.digest(draft)
        if digest is None or not hmac.compare_digest(digest, bytes(known.request_digest)):
            return UnableToSend(
                SendErrorCode.IDEMPOTENCY_CONFLICT, "idempotency_key",
                "This key was used for another request to this workspace; use a new one.",
            )  # fmt: skip
        return Queued(known.id, known.status, is_repeat=True)
