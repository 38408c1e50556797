"""The document names every code, with Meta's beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from messaging.sending.preflight import WarningCode
from messaging.sending.refusals import DESCRIPTIONS, PLATFORM_CODES, SendErrorCode

ROWS = [
    line
    for line in (Path(__file__).parents[2] / "docs/sending.md").read_text().splitlines()
    if line.startswith("| `")
]


@pytest.mark.parametrize("code", [*SendErrorCode, *WarningCode])
def test_it_explains_every_code(code: str) -> None:
    rows = [row for row in ROWS if f"`{code}`" in row]

    assert rows
    if isinstance(code, SendErrorCode):
        assert DESCRIPTIONS[code]
        assert str(PLATFORM_CODES.get(code, "")) in rows[-1]
