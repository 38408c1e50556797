"""What stands inside Meta's id of a message: one message may have two ids, with one key inside.

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
differs as well, by whose view is told.
"""

from __future__ import annotations

import re
from binascii import a2b_base64

PREFIX = "wamid."
_OTHER_ALPHABET = bytes.maketrans(b"-_", b"+/")
_GROUP = 0x08
# A BSUID has up to 135 characters; the longest key that was seen has 32.
_LONGEST_PARTY, _LONGEST_KEY, _LONGEST_ID = 160, 128, 800
# A length that one byte can tell is told with one.
_LENGTH = rb"([\x01-\x7f]|[\x80-\xff]\x01)"
_STRING = rb"\x18" + _LENGTH + rb"([!-~]+)"
_FORM = re.compile(
    rb"\x1c" + _STRING + rb"\x15([\x02\x14\x08])\x00[\x11\x12]" + _STRING
    + rb"(?:\x1c" + _STRING + rb"\x15[\x02\x14]\x00)?\x00"
)  # fmt: skip


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
    """Whether a text is as long as the varint in front of it says, and not too long."""
    told = length[0] if len(length) == 1 else length[0] - 0x80 + (length[1] << 7)
    return told == len(text) <= longest
