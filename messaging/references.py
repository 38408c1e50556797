"""Which message an id means. One message may have two ids, with the same key inside
(`messaging.wamids`).

An id means the message that has it. Otherwise it means the one with the same key, of the same
number and the same person (or group): the key is the choice of its sender's software, so by itself
it proves nothing. What several have, or what nobody can read a key from, means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from lib.envelope import Cipher, associated_data
from messaging import changing
from messaging.identities import SURVIVOR
from messaging.wamids import inner_key
from workspaces.identity import Digester

SEALED_ID = "messages.sealed_id"
# What history has in the place of a file that comes later, by itself (Meta, "history webhook").
PLACEHOLDER = "media_placeholder"


def _same_people(row: str) -> str:
    """Whether a row of messages belongs to whom ``r`` means: in a group that is the group."""
    contact = SURVIVOR.format(tenant_id=f"{row}.tenant_id", contact_id=f"{row}.contact_id")
    return (
        f"CASE WHEN r.group_id IS NULL THEN {row}.group_id IS NULL AND {contact} = r.contact_id "
        f"ELSE {row}.group_id = r.group_id END"
    )


# Whether two rows are one message under two ids; a placeholder stands for a file of any type.
SAME_MESSAGE = f"""
m.tenant_id = r.tenant_id AND m.inner_key = r.inner_key
AND (m.workspace_id = r.workspace_id) IS TRUE AND m.direction = r.direction
AND (m.type = r.type OR '{PLACEHOLDER}' IN (m.type, r.type)) AND {_same_people("m")}
"""


class Reference(NamedTuple):
    """A mention of another message; ``side`` is the direction that it must have, if any."""

    number: int
    tenant_id: UUID
    workspace_id: UUID
    platform_message_id: str
    inner_key: int
    contact_id: UUID | None
    group_id: str | None
    side: str | None = None


class Target(NamedTuple):
    """A message that was stored, as others may refer to it."""

    tenant_id: UUID
    workspace_id: UUID
    platform_message_id: str
    inner_key: int | None = None
    contact_id: UUID | None = None
    group_id: str | None = None
    direction: str | None = None


REFERENCE_COLUMNS = (
    "number int4", "tenant_id uuid", "workspace_id uuid", "platform_message_id text",
    "inner_key int8", "contact_id uuid", "group_id text", "side text",
)  # fmt: skip
# Index look-ups, whatever the planner believes: min() over one row is that row.
RESOLVE = f"""
SELECT r.number, coalesce((
    SELECT m.platform_message_id FROM messages m
    WHERE m.tenant_id = r.tenant_id AND m.workspace_id = r.workspace_id
      AND m.platform_message_id = r.platform_message_id
), (
    SELECT min(m.platform_message_id) FROM messages m
    WHERE m.tenant_id = r.tenant_id AND m.inner_key = r.inner_key
      AND (m.workspace_id = r.workspace_id) IS TRUE
      AND coalesce(m.direction = r.side, true) AND {_same_people("m")}
    HAVING count(*) = 1
)) FROM {{rows}}
"""  # noqa: S608 - names of ours
TARGET_COLUMNS = (
    "tenant_id uuid", "workspace_id uuid", "platform_message_id text", "inner_key int8",
    "contact_id uuid", "group_id text", "direction text",
)  # fmt: skip
# Whether anything waits for one of these messages; {m} is what waits. From messages_waiting.
WAITS = f"""
a.tenant_id = r.tenant_id AND a.reply_to_key = r.inner_key
AND (a.workspace_id = r.workspace_id) IS TRUE
AND (a.type NOT IN ('edit', 'revoke') OR a.direction = r.direction)
AND {_same_people("a")}
"""
ADOPT = changing.statement(
    carry="r.platform_message_id",
    found=f"""{{rows}} JOIN messages a ON {WAITS}
    JOIN messages m ON m.tenant_id = a.tenant_id AND m.id = a.id""",
    assign="reply_to = mine.platform_message_id, reply_to_key = NULL",
)


def seal_id(cipher: Cipher, tenant_id: UUID, message_id: UUID, wamid: str) -> bytes:
    """Seal the platform's id of a message under a day's key."""
    return cipher.seal(wamid.encode(), associated_data(tenant_id, SEALED_ID, message_id))


def key_of(wamid: str, digest: Digester, workspace_id: UUID) -> int | None:
    """Return the digest of the key inside an id, for one number; ``None`` where there is no key."""
    key = inner_key(wamid)
    return None if key is None else digest.inner_key(workspace_id, key)


def resolve(references: Sequence[Reference]) -> dict[int, str]:
    """Return the platform ids (digests) of what is meant, by ``number``; of what is known only."""
    rows = bulk.run(RESOLVE, REFERENCE_COLUMNS, references)
    return {number: found for number, found in rows if found is not None}


def adopt(targets: Sequence[Target]) -> None:
    """Let messages that refer to one of these, by another id of it, refer to it by its own."""
    with_key = [target for target in targets if target.inner_key is not None]
    bulk.run(ADOPT, TARGET_COLUMNS, with_key)
