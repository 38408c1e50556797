"""QR codes for pages and terminals, drawn here: no service and no script of others sees them."""

from __future__ import annotations

import io
from itertools import zip_longest

import segno

# ISO/IEC 18004, 6.3.8: four modules of light around the symbol, or cameras do not find it.
QUIET_ZONE = 4
# Two modules stand in one character, one above the other. What is light is drawn: then the code is
# right without colours too, for a terminal is dark.
BLOCKS = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def as_svg(text: str) -> str:
    """Return an SVG element that shows ``text`` as a QR code, dark on light, as large as its place
    allows.
    """
    out = io.BytesIO()
    code = segno.make_qr(text, error="l")
    code.save(
        out,
        kind="svg",
        border=QUIET_ZONE,
        dark="#000",
        light="#fff",
        xmldecl=False,
        omitsize=True,
        nl=False,
    )
    return out.getvalue().decode()


def as_text(text: str) -> str:
    """Return ``text`` as a QR code in lines of characters, light on dark."""
    matrix = segno.make_qr(text, error="l").matrix_iter(border=QUIET_ZONE)
    rows = [[not module for module in row] for row in matrix]
    lines = []
    for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=[True] * len(rows[0])):
        lines.append("".join(BLOCKS[pair] for pair in zip(upper, lower, strict=True)))
    return "\n".join(lines)
