"""What a request must be by itself: the limits of each kind of content, and its times. Pure.

Rules: Meta, "Messages" API reference and the page of each message type (sizes in characters).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from messaging.filetypes import MediaKind
from messaging.sending.requests import (
    ChoiceList,
    ContactsContent,
    Content,
    InteractiveContent,
    InteractiveHeader,
    LocationContent,
    MediaContent,
    ReactionContent,
    SendRequest,
    TemplateContent,
    TextContent,
)

TEXT, CAPTION, EMOJI, CARDS, KEY, URL = 4096, 1024, 16, 256, 128, 2000
_NAME = re.compile(r"[a-z0-9_]{1,512}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[A-Z]{2,4})?")
_KEYCAP_OR_INFORMATION = re.compile("[0-9#*]\ufe0f?\u20e3|\u2139\ufe0f?")
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")
# Meta's, and ours.
_MEDIA_ID = re.compile(r"[0-9]{1,32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# The input field of each kind of content.
FIELDS: Mapping[type[Content], str] = {
    TemplateContent: "template_name",
    TextContent: "text",
    MediaContent: "media",
    InteractiveContent: "interactive",
    ReactionContent: "reaction",
    LocationContent: "location",
    ContactsContent: "contacts",
}
CAPTIONED = frozenset({MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.DOCUMENT})
# Meta, "Interactive messages": reply buttons, lists, call-to-action URL buttons.
BODY, LIST_BODY, HEADER, FOOTER = 1024, 4096, 60, 60
BUTTONS, BUTTON_ID, BUTTON_TITLE = 3, 256, 20
SECTIONS, SECTION_TITLE, ROWS, ROW_ID, ROW_TITLE, ROW_DESCRIPTION = 10, 24, 10, 200, 24, 72
RAW_BYTES = 64_000
# A kind of interactive message that is given as it is: Meta has new ones now and then.
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")

# What waits longer (a number paused, a token expired) is better not sent at all.
DEFAULT_LIFE = timedelta(hours=24)
# A one-time password is void by then; it is Meta's own default too ("Time-to-live").
SECRET_LIFE = timedelta(minutes=10)
# The number of the recipient is kept (sealed) until the message is sent; so this is bounded.
FURTHEST = timedelta(days=30)
# Clocks differ, and requests take time.
GRACE = timedelta(minutes=5)
NO_OFFSET = "The time needs an offset, such as Z or +02:00."


class Fault(NamedTuple):
    """What is wrong with one field, in a sentence."""

    field: str
    message: str


def faults_of(request: SendRequest) -> list[Fault]:
    """Return everything that is wrong with a request by itself, but its times and its recipient."""
    found, key = faults(request.content), request.idempotency_key
    if key is not None and not (1 <= len(key) <= KEY and key.isprintable()):
        found.append(Fault("idempotency_key", f"A key has 1 to {KEY} printable characters."))
    if request.reply_to is not None and isinstance(request.content, ReactionContent):
        found.append(Fault("reply_to", "A reaction names its message by itself."))
    return found


def faults(content: Content) -> list[Fault]:
    """Return everything that is wrong with a content by itself."""
    try:
        return list(_unwritable(content)) or list(_CHECKS[type(content)](content))
    except RecursionError:
        return [Fault(FIELDS[type(content)], "This is nested too deeply.")]


class Times(NamedTuple):
    """When a message is due; ``expires`` is ``None`` where its broadcast decides."""

    due: datetime
    expires: datetime | None


def times_of(request: SendRequest, *, is_secret: bool, now: datetime) -> Times | Fault:
    """Return the times of a request, or why it has none."""
    due = _due(request.scheduled_at, now)
    if isinstance(due, Fault):
        return due
    wanted = request.expires_at
    if wanted is None:
        life = SECRET_LIFE if is_secret else DEFAULT_LIFE
        return Times(due, None if request.broadcast_id is not None else due + life)
    if wanted.tzinfo is None:
        return Fault("expires_at", NO_OFFSET)
    if wanted <= due:
        return Fault("expires_at", "The message would expire before it is due.")
    if wanted > due + FURTHEST:
        return Fault("expires_at", f"This is over {FURTHEST.days} days after it is due.")
    return Times(due, wanted.astimezone(UTC))


def _due(wanted: datetime | None, now: datetime) -> datetime | Fault:
    if wanted is None:
        return now
    if wanted.tzinfo is None:
        return Fault("scheduled_at", NO_OFFSET)
    if wanted < now - GRACE:
        return Fault("scheduled_at", "The time is in the past.")
    if wanted > now + FURTHEST:
        return Fault("scheduled_at", f"This is over {FURTHEST.days} days ahead.")
    return max(wanted.astimezone(UTC), now)


def _unwritable(content: Content) -> Iterator[Fault]:
    """Refuse characters that neither JSON nor the database can hold."""
    if any(_UNWRITABLE.search(text) for text in _texts(msgspec.to_builtins(content))):
        yield Fault(
            FIELDS[type(content)], "A text has a NUL character or half of a surrogate pair in it."
        )


def _texts(value: object) -> Iterator[str]:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            pending.extend((*one.keys(), *one.values()))
        elif isinstance(one, list | tuple):  # msgspec leaves a tuple one
            pending.extend(one)


def _template(content: TemplateContent) -> Iterator[Fault]:
    if not _NAME.fullmatch(content.name):
        yield Fault(
            "template_name", "A template's name has 1 to 512 lower-case letters, digits and _."
        )
    if content.language is not None and not _LANGUAGE.fullmatch(content.language):
        yield Fault("language", "A language is a code such as en, en_US or pt_BR.")


def _text(content: TextContent) -> Iterator[Fault]:
    yield from _size("text", content.body, TEXT)


def _media(content: MediaContent, field: str = "media") -> Iterator[Fault]:
    yield from _source(content, field)
    kind = content.kind
    if content.caption is not None and kind not in CAPTIONED:
        yield Fault(f"{field}.caption", f"Files of kind {kind} take no caption.")
    yield from _optional(f"{field}.caption", content.caption, CAPTION)
    if content.filename is not None and kind != MediaKind.DOCUMENT:
        yield Fault(f"{field}.filename", "Only documents take a file name.")
    yield from _optional(f"{field}.filename", content.filename, 240)
    if content.voice and kind != MediaKind.AUDIO:
        yield Fault(f"{field}.voice", "Only audio can be a voice note.")


def _reaction(content: ReactionContent) -> Iterator[Fault]:
    yield from _optional("reaction.emoji", content.emoji or None, EMOJI)
    if content.emoji and not _is_emoji(content.emoji):
        yield Fault("reaction.emoji", "This takes an emoji; leave it empty to take one back.")


def _is_emoji(text: str) -> bool:
    """Whether a text is of emoji; a few of them begin with a digit, an ASCII sign or a letter."""
    rest = _KEYCAP_OR_INFORMATION.sub("", text)
    return not any(each.isascii() or each.isalnum() or each.isspace() for each in rest)


def _location(content: LocationContent) -> Iterator[Fault]:
    for name, value, most in (
        ("latitude", content.latitude, 90),
        ("longitude", content.longitude, 180),
    ):
        if not math.isfinite(value) or abs(value) > most:
            yield Fault(f"location.{name}", f"This takes degrees from -{most} to {most}.")
    yield from _optional("location.name", content.name, CAPTION)
    yield from _optional("location.address", content.address, CAPTION)


def _contacts(content: ContactsContent) -> Iterator[Fault]:
    if not 1 <= len(content.contacts) <= CARDS:
        yield Fault("contacts", f"There may be 1 to {CARDS} cards; {len(content.contacts)} came.")
    for index, card in enumerate(content.contacts):
        yield from _size(f"contacts[{index}].name.formatted_name", card.name.formatted_name, 256)


def _interactive(content: InteractiveContent) -> Iterator[Fault]:
    """Yield what is wrong with an interactive message."""
    kinds = {
        "buttons": bool(content.buttons),
        "list": content.list is not None,
        "cta_url": content.cta_url is not None,
        "location_request": content.location_request,
        "raw": content.raw is not None,
    }
    given = [name for name, there in kinds.items() if there]
    if len(given) != 1:
        came = ", ".join(given) or "none"
        yield Fault("interactive", f"Give exactly one of {', '.join(kinds)}; {came} came.")
    elif content.raw is not None:
        yield from _raw(content, content.raw)
    else:
        yield from _frame(content, LIST_BODY if content.list else BODY)
        yield from _action(content)


def _raw(content: InteractiveContent, raw: dict[str, Any]) -> Iterator[Fault]:
    if content.body or content.header or content.footer:
        yield Fault("interactive", "With raw, body, header and footer stand inside raw.")
    kind = raw.get("type")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        yield Fault("interactive.raw", "raw.type must be one of Meta's words, such as flow.")
    if not isinstance(raw.get("action"), dict):
        yield Fault("interactive.raw", "raw.action must be an object.")
    if len(msgspec.json.encode(raw)) > RAW_BYTES:
        yield Fault("interactive.raw", f"raw takes at most {RAW_BYTES} bytes of JSON.")


def _frame(content: InteractiveContent, most: int) -> Iterator[Fault]:
    yield from _size("interactive.body", content.body or "", most)
    yield from _optional("interactive.footer", content.footer, FOOTER)
    if content.header is not None:
        yield from _header(content, content.header)


def _header(content: InteractiveContent, header: InteractiveHeader) -> Iterator[Fault]:
    if content.location_request:
        yield Fault("interactive.header", "A location request takes no header.")
    if (header.text is None) == (header.media is None):
        yield Fault("interactive.header", "A header is a text or a file: one of the two.")
    yield from _optional("interactive.header.text", header.text, HEADER)
    if header.media is not None:
        if content.list is not None:
            yield Fault("interactive.header", "A list takes a text as its header.")
        if header.media.kind not in CAPTIONED:
            yield Fault("interactive.header.media.kind", "This must be image, video or document.")
        if header.media.caption is not None:
            yield Fault("interactive.header.media.caption", "A header takes no caption.")
        yield from _source(header.media, "interactive.header.media")


def _action(content: InteractiveContent) -> Iterator[Fault]:
    if content.location_request and content.footer is not None:
        yield Fault("interactive.footer", "A location request takes no footer.")
    if content.cta_url is not None:
        yield from _size("interactive.cta_url.display_text", content.cta_url.display_text, 20)
        yield from _url("interactive.cta_url.url", content.cta_url.url)
    if content.list is not None:
        yield from _list(content.list)
    if len(content.buttons) > BUTTONS:
        count = len(content.buttons)
        yield Fault("interactive.buttons", f"There may be {BUTTONS} buttons; {count} were given.")
    for index, button in enumerate(content.buttons):
        yield from _size(f"interactive.buttons[{index}].id", button.id, BUTTON_ID)
        yield from _size(f"interactive.buttons[{index}].title", button.title, BUTTON_TITLE)
    yield from _unique("interactive.buttons", [button.id for button in content.buttons])
    yield from _unique("interactive.buttons", [b.title for b in content.buttons], "title")


def _list(wanted: ChoiceList) -> Iterator[Fault]:
    field = "interactive.list.sections"
    yield from _size("interactive.list.button", wanted.button, BUTTON_TITLE)
    rows = [row for section in wanted.sections for row in section.rows]
    if not 1 <= len(wanted.sections) <= SECTIONS or any(not s.rows for s in wanted.sections):
        yield Fault(field, f"A list takes 1 to {SECTIONS} sections, each with a row or more.")
    if len(rows) > ROWS:
        yield Fault(field, f"A list takes {ROWS} rows in all; {len(rows)} were given.")
    for index, section in enumerate(wanted.sections):
        if section.title is None and len(wanted.sections) > 1:
            yield Fault(f"{field}[{index}].title", "With several sections each needs a title.")
        yield from _optional(f"{field}[{index}].title", section.title, SECTION_TITLE)
        for place, row in enumerate(section.rows):
            at = f"{field}[{index}].rows[{place}]"
            yield from _size(f"{at}.id", row.id, ROW_ID)
            yield from _size(f"{at}.title", row.title, ROW_TITLE)
            yield from _optional(f"{at}.description", row.description, ROW_DESCRIPTION)
    yield from _unique(field, [row.id for row in rows])


def _unique(field: str, values: Sequence[str], what: str = "id") -> Iterator[Fault]:
    if len(set(values)) < len(values):
        yield Fault(field, f"Each needs a different {what}.")


def _size(field: str, value: str, most: int, least: int = 1) -> Iterator[Fault]:
    """Refuse what is too long, or (unless ``least`` is 0) blank."""
    if not least <= len(value) <= most:
        wanted = f"{least} to {most}" if least else f"at most {most}"
        yield Fault(field, f"This takes {wanted} characters; {len(value)} were given.")
    elif least and not value.strip():
        yield Fault(field, "This must not be blank.")


def _optional(field: str, value: str | None, most: int) -> Iterator[Fault]:
    """Refuse what is given and blank or too long."""
    if value is not None:
        yield from _size(field, value, most)


def _url(field: str, value: str) -> Iterator[Fault]:
    """Refuse what is no web address."""
    yield from _size(field, value, URL)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        yield Fault(field, "This must be an address that begins with https:// or http://.")


def _source(content: MediaContent, field: str) -> Iterator[Fault]:
    """Refuse a file that is not named by id or by link."""
    if (content.id is None) == (content.link is None):
        yield Fault(field, "Give the file as id (uploaded before) or as link: one of the two.")
    if content.id is not None and not _MEDIA_ID.fullmatch(content.id):
        yield Fault(f"{field}.id", "Ids of files are UUIDs; Meta's are 1 to 32 digits.")
    if content.link is not None:
        yield from _url(f"{field}.link", content.link)


_CHECKS: dict[type[Content], Callable[[Any], Iterator[Fault]]] = {
    TemplateContent: _template,
    TextContent: _text,
    MediaContent: _media,
    InteractiveContent: _interactive,
    ReactionContent: _reaction,
    LocationContent: _location,
    ContactsContent: _contacts,
}
