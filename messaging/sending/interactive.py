"""The limits of interactive messages: buttons, lists, links. Pure.

Rules: Meta, "Interactive messages" (reply buttons, lists, call-to-action URL buttons).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from messaging.sending.faults import CAPTIONED, Fault, optional, size, source, url
from messaging.sending.requests import ChoiceList, InteractiveContent, InteractiveHeader

BODY, LIST_BODY, HEADER, FOOTER = 1024, 4096, 60, 60
BUTTONS, BUTTON_ID, BUTTON_TITLE = 3, 256, 20
SECTIONS, SECTION_TITLE, ROWS, ROW_ID, ROW_TITLE, ROW_DESCRIPTION = 10, 24, 10, 200, 24, 72
RAW_BYTES = 64_000
# A kind of interactive message that is given as it is: Meta has new ones now and then.
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")


def check(content: InteractiveContent) -> Iterator[Fault]:
    """Yield what is wrong with an interactive message."""
    kinds = {
        "buttons": bool(content.buttons), "list": content.list is not None,
        "cta_url": content.cta_url is not None, "location_request": content.location_request,
        "raw": content.raw is not None,
    }  # fmt: skip
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
    yield from size("interactive.body", content.body or "", most)
    yield from optional("interactive.footer", content.footer, FOOTER)
    if content.header is not None:
        yield from _header(content, content.header)


def _header(content: InteractiveContent, header: InteractiveHeader) -> Iterator[Fault]:
    if content.location_request:
        yield Fault("interactive.header", "A location request takes no header.")
    if (header.text is None) == (header.media is None):
        yield Fault("interactive.header", "A header is a text or a file: one of the two.")
    yield from optional("interactive.header.text", header.text, HEADER)
    if header.media is not None:
        if content.list is not None:
            yield Fault("interactive.header", "A list takes a text as its header.")
        if header.media.kind not in CAPTIONED:
            yield Fault("interactive.header.media.kind", "This must be image, video or document.")
        if header.media.caption is not None:
            yield Fault("interactive.header.media.caption", "A header takes no caption.")
        yield from source(header.media, "interactive.header.media")


def _action(content: InteractiveContent) -> Iterator[Fault]:
    if content.location_request and content.footer is not None:
        yield Fault("interactive.footer", "A location request takes no footer.")
    if content.cta_url is not None:
        yield from size("interactive.cta_url.display_text", content.cta_url.display_text, 20)
        yield from url("interactive.cta_url.url", content.cta_url.url)
    if content.list is not None:
        yield from _list(content.list)
    if len(content.buttons) > BUTTONS:
        count = len(content.buttons)
        yield Fault("interactive.buttons", f"There may be {BUTTONS} buttons; {count} were given.")
    for index, button in enumerate(content.buttons):
        yield from size(f"interactive.buttons[{index}].id", button.id, BUTTON_ID)
        yield from size(f"interactive.buttons[{index}].title", button.title, BUTTON_TITLE)
    yield from _unique("interactive.buttons", [button.id for button in content.buttons])
    yield from _unique("interactive.buttons", [b.title for b in content.buttons], "title")


def _list(wanted: ChoiceList) -> Iterator[Fault]:
    field = "interactive.list.sections"
    yield from size("interactive.list.button", wanted.button, BUTTON_TITLE)
    rows = [row for section in wanted.sections for row in section.rows]
    if not 1 <= len(wanted.sections) <= SECTIONS or any(not s.rows for s in wanted.sections):
        yield Fault(field, f"A list takes 1 to {SECTIONS} sections, each with a row or more.")
    if len(rows) > ROWS:
        yield Fault(field, f"A list takes {ROWS} rows in all; {len(rows)} were given.")
    for index, section in enumerate(wanted.sections):
        if section.title is None and len(wanted.sections) > 1:
            yield Fault(f"{field}[{index}].title", "With several sections each needs a title.")
        yield from optional(f"{field}[{index}].title", section.title, SECTION_TITLE)
        for place, row in enumerate(section.rows):
            at = f"{field}[{index}].rows[{place}]"
            yield from size(f"{at}.id", row.id, ROW_ID)
            yield from size(f"{at}.title", row.title, ROW_TITLE)
            yield from optional(f"{at}.description", row.description, ROW_DESCRIPTION)
    yield from _unique(field, [row.id for row in rows])


def _unique(field: str, values: Sequence[str], what: str = "id") -> Iterator[Fault]:
    if len(set(values)) < len(values):
        yield Fault(field, f"Each needs a different {what}.")
