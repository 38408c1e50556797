"""Prepare msgspec's structs before threads read into them, and say why an input is not one.

msgspec works out what a struct holds when it first reads into one. Where two threads did that at
once the process died of a segmentation fault (msgspec 0.22 and before).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

Structs = frozenset[type[msgspec.Struct]]


def warm() -> Structs:
    """Let msgspec read every struct that is loaded by now, and return them.

    Call it in each process once its modules are loaded, and before it has threads.
    """
    return frozenset(struct for struct in loaded() if _is_readable(struct))


def loaded() -> Iterator[type[msgspec.Struct]]:
    """Yield every struct of the modules that are loaded, in no order."""
    found = [msgspec.Struct]
    while found:
        subclasses = found.pop().__subclasses__()
        yield from subclasses
        found += subclasses


def _is_readable(struct: type[msgspec.Struct]) -> bool:
    """Make a decoder, which is what works the struct out; some are only ever written."""
    try:
        msgspec.json.Decoder(struct)
    except TypeError:  # a union that JSON alone cannot tell apart
        return False
    return True


def fault_of(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """Return what is wrong with an input, as a sentence, and the field that msgspec names."""
    message, _, place = str(error).partition(" - at ")
    return f"{message}.", place.strip("`$.").partition("[")[0] or None
