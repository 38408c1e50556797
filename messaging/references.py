"""Which message an id means. One message may have two ids, with the same key inside.

An id means the message that has it. Otherwise it means the one with the same key, of the same
number and the same person (or group): the key is the choice of its sender's software, so by itself
it proves nothing. What several have, or what nobody can read a key from, means nothing.

``wamid.`` is followed by base64 (padding may be missing, ``-`` and ``_`` may stand for ``+`` and
``/``) of a struct in Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)::

    1c                    field 1, a struct: the other side of the chat
       18 length ascii      field 1, a string: digits of a phone, a BSUID, or digits of a group
       15 kind              field 2, a number: 02 phone, 14 BSUID, 08 group (zigzag for 1, 10, 4)
       00                   its end
    11 or 12              field 2, true or false: sent by the business, or by the person
    18 length ascii       field 3, a string: the key, chosen by the sender's software
    1c 18 length ascii 15 kind 00
                          field 4, a struct, in groups only: the participant
    00                    the end

Lengths are varints. Meta documents none of it. It was read off the ids in Meta's own samples, in
the fixtures of pywa and in other public webhooks, and holds for every one of them. Since there are
business-scoped user ids (Meta, "Business-scoped user IDs") one message comes under its phone's id
in one callback and under its BSUID's id in the next; the key is the same in both. Sometimes field 2
differs as well, by whose view it is.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from lib.envelope import Cipher, associated_data
from messaging import changing
from messaging.people import SURVIVOR
from workspaces.identity import Digester

SEALED_ID = "messages.sealed_id"
# What history has in the place of a file that comes later, by itself (Meta, "history webhook").
PLACEHOLDER = "media_placeholder"
PREFIX = "wamid."
_OTHER_ALPHABET = bytes.maketrans(b"-_", b"+/")
_GROUP = 0x08
# A BSUID has up to 135 characters; the longest key that was seen has 32.
_LONGEST_PARTY, _LONGEST_KEY, _LONGEST_ID = 160, 128, 800
# A length that fits into one byte has one.
_LENGTH = rb"([\x01-\x7f]|[\x80-\xff]\x01)"
_STRING = rb"\x18" + _LENGTH + rb"([!-~]+)"
_IN_GROUP = rb"(?:\x1c" + _STRING + rb"\x15[\x02\x14]\x00)?"
_FORM = re.compile(
    rb"\x1c" + _STRING + rb"\x15([\x02\x14\x08])\x00[\x11\x12]" + _STRING + _IN_GROUP + rb"\x00"
)


def _same_people(row: str) -> str:
    """Whether a row of messages belongs to whom ``r`` means: in a group that is the group."""
    contact = SURVIVOR.format(tenant_id=f"{row}.tenant_id", contact_id=f"{row}.contact_id")
    return (
        f"CASE WHEN r.group_id IS NULL THEN {row}.group_id IS NULL AND {contact} = r.contact_id "
        f"ELSE {row}.group_id = r.group_id END"
    )


# How a message is found by its key, or by its platform's id, whatever the planner knows of the
# table: what is compared, and the order, can be had from one index only. While a table is as good
# as empty, every index that begins with the tenant looks to it as good as any other, and a first
# batch would read the messages of the number for each of its own.
NUMBER = "({row}.tenant_id = r.tenant_id) IS TRUE AND ({row}.workspace_id = r.workspace_id) IS TRUE"
# The id of a number's message that has the platform's id ``{id}``; ``{row}`` names the number. A
# join by it stands behind OFFSET 0 (docs/adr/0022).
KNOWN = """(SELECT found.id FROM (
    SELECT o.tenant_id, o.workspace_id, o.platform_message_id, o.id FROM messages o
    WHERE (o.tenant_id, o.workspace_id, o.platform_message_id)
       >= ({row}.tenant_id, {row}.workspace_id, {id})
    ORDER BY o.tenant_id, o.workspace_id, o.platform_message_id LIMIT 1
) found WHERE found.tenant_id = {row}.tenant_id AND found.workspace_id = {row}.workspace_id
    AND found.platform_message_id = {id})"""
# Whether two rows are one message under two ids; a placeholder stands for a file of any type.
SAME_MESSAGE = f"""
m.inner_key = r.inner_key AND {NUMBER.format(row="m")} AND m.direction = r.direction
AND (m.type = r.type OR '{PLACEHOLDER}' IN (m.type, r.type)) AND {_same_people("m")}
"""


class Reference(NamedTuple):
    """A mention of another message; ``position`` is the caller's, ``side`` the direction that the
    message must have, if any.
    """

    position: int
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


REFERENCE_COLUMNS = bulk.columns(Reference)
# min() over one row is that row.
RESOLVE = f"""
SELECT r.position, CASE WHEN {KNOWN.format(row="r", id="r.platform_message_id")} IS NOT NULL
THEN r.platform_message_id ELSE (
    SELECT min(m.platform_message_id) FROM messages m
    WHERE m.inner_key = r.inner_key AND {NUMBER.format(row="m")}
      AND coalesce(m.direction = r.side, true) AND {_same_people("m")}
    HAVING count(*) = 1
) END FROM {{rows}}
"""  # noqa: S608 - names of ours
TARGET_COLUMNS = bulk.columns(Target)
# Whether anything waits for one of these messages; {m} is what waits. From messages_waiting.
WAITS = f"""
a.reply_to_key = r.inner_key AND {NUMBER.format(row="a")}
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


def inner_key(wamid: str) -> str | None:
    """Return the key inside an id, or ``None`` where anything about the id is not as expected.

    Two ids with one key are the same message only if they also belong to the same number and the
    same person (or group): the key is the sender's choice. Never raises.
    """
    if not wamid.startswith(PREFIX) or len(wamid) > _LONGEST_ID:
        return None
    try:
        text = wamid[len(PREFIX) :].encode("ascii").rstrip(b"=").translate(_OTHER_ALPHABET)
        data = a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None
    found = _FORM.fullmatch(data)
    if found is None:
        return None
    party_length, party, kind, key_length, key, length, participant = found.groups()
    is_whole = (
        _is(party_length, party, _LONGEST_PARTY)
        and _is(key_length, key, _LONGEST_KEY)
        and (participant is not None) == (kind[0] == _GROUP)
        and (participant is None or _is(length, participant, _LONGEST_PARTY))
    )
    return key.decode() if is_whole else None


def _is(length: bytes, text: bytes, longest: int) -> bool:
    """Whether a text is as long as the varint in front of it states, and not too long."""
    stated = length[0] if len(length) == 1 else length[0] - 0x80 + (length[1] << 7)
    return stated == len(text) <= longest


def resolve(references: Sequence[Reference]) -> dict[int, str]:
    """Return the platform ids (digests) of what is meant and known, by ``position``."""
    rows = bulk.run(RESOLVE, REFERENCE_COLUMNS, references)
    return {position: found for position, found in rows if found is not None}


def adopt(targets: Sequence[Target]) -> None:
    """Let messages that refer to one of these, by another id of it, refer to it by its own."""
    with_key = [target for target in targets if target.inner_key is not None]
    bulk.run(ADOPT, TARGET_COLUMNS, with_key)
