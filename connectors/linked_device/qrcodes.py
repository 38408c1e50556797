"""A QR code as a picture that needs nobody else: no service draws it, and no script of others."""

from __future__ import annotations

import io

import segno

# ISO/IEC 18004, 6.3.8: four modules of light around the symbol, or cameras do not find it.
QUIET_ZONE = 4


def as_svg(text: str) -> str:
    """Return an SVG element that shows ``text`` as a QR code, dark on light, as large as its place
    allows.
    """
    out = io.BytesIO()
    code = segno.make_qr(text, error="l")
    code.save(
        out, kind="svg", border=QUIET_ZONE, dark="#000", light="#fff", xmldecl=False,
        omitsize=True, nl=False,
    )  # fmt: skip
    return out.getvalue().decode()
