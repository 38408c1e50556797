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

from binascii import a2b_base64

PREFIX = "wamid."
_OTHER_ALPHABET = str.maketrans("-_", "+/")
_PHONE, _USER, _GROUP = 0x02, 0x14, 0x08
# A BSUID has up to 135 characters; the longest key that was seen has 32.
_LONGEST_PARTY, _LONGEST_KEY, _LONGEST_ID = 160, 128, 800


class _Unreadable(ValueError):
    """Something else stands there."""


def inner_key(wamid: str) -> str | None:
    """Return the key inside an id, or ``None`` where anything about the id is not as expected.

    Two ids with one key are the same message only if they also belong to the same number and the
    same person (or group): the key is the sender's choice. Never raises.
    """
    if not wamid.startswith(PREFIX) or len(wamid) > _LONGEST_ID:
        return None
    text = wamid[len(PREFIX) :]
    if not text.isalnum():
        text = text.rstrip("=").translate(_OTHER_ALPHABET)
    try:
        return _key_in(a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True))
    except (ValueError, IndexError):
        return None


def _key_in(data: bytes) -> str:
    kind, place = _party(data, 0)
    if data[place] not in (0x11, 0x12):
        raise _Unreadable
    key, place = _string(data, place + 1, _LONGEST_KEY)
    if kind == _GROUP:
        participant, place = _party(data, place)
        if participant == _GROUP:
            raise _Unreadable
    if data[place:] != b"\x00":
        raise _Unreadable
    return key


def _party(data: bytes, place: int) -> tuple[int, int]:
    """Read a struct of who is meant; return the kind and where it ends."""
    if data[place] != 0x1C:
        raise _Unreadable
    _, place = _string(data, place + 1, _LONGEST_PARTY)
    kind = data[place + 1]
    if data[place] != 0x15 or kind not in (_PHONE, _USER, _GROUP) or data[place + 2] != 0:
        raise _Unreadable
    return kind, place + 3


def _string(data: bytes, place: int, longest: int) -> tuple[str, int]:
    """Read a string of printable ASCII; return it and where it ends."""
    if data[place] != 0x18:
        raise _Unreadable
    length, start = data[place + 1], place + 2
    if length >= 0x80:
        length, start = length - 0x80 + (data[start] << 7), start + 1
        if not 0x80 <= length <= longest:
            raise _Unreadable
    text = data[start : start + length].decode("ascii")
    if not 0 < length == len(text) <= longest or not text.isprintable() or " " in text:
        raise _Unreadable
    return text, start + length
