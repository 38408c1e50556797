"""A QR code in characters that a phone's camera reads from a terminal."""

from __future__ import annotations

from itertools import zip_longest

import segno

from connectors.linked_device.qrcodes import QUIET_ZONE

# Two modules stand in one character, one above the other. What is light is drawn: then the code is
# right without colours too, for a terminal is dark.
BLOCKS = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def as_text(text: str) -> str:
    """Return ``text`` as a QR code in lines of characters, light on dark."""
    matrix = segno.make_qr(text, error="l").matrix_iter(border=QUIET_ZONE)
    rows = [[not module for module in row] for row in matrix]
    lines = []
    for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=[True] * len(rows[0])):
        lines.append("".join(BLOCKS[pair] for pair in zip(upper, lower, strict=True)))
    return "\n".join(lines)
