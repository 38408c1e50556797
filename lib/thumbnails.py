"""Thumbnails of pictures from strangers, each made in a process of its own, which may die."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

logger = logging.getLogger("sigma.whatsapp.files")
THUMBNAILER = Path(__file__).with_name("thumbnailer.py")
EDGE, MIME_TYPE = 320, "image/jpeg"
# A larger file, or a picture of more pixels, gets no thumbnail.
MOST_BYTES, MOST_PIXELS = 20_000_000, 50_000_000
# Of the process: a decoded picture of that size, a copy of it, and Python.
MEMORY, CPU_SECONDS, SECONDS = 768 * 1024 * 1024, 10, 30.0
MOST_RESULT = 256 * 1024
BEGINNING = b"\xff\xd8\xff"


def thumbnail_of(picture: bytes) -> bytes | None:
    """Return a JPEG of at most 320 by 320 pixels of a JPEG, PNG or WebP; ``None`` where there can
    be none: it is no such picture, or broken, or too large, or its process was ended.
    """
    limits = [str(one) for one in (EDGE, MOST_PIXELS, MEMORY, CPU_SECONDS)]
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(THUMBNAILER), *limits],
            input=picture,
            capture_output=True,
            timeout=SECONDS,
            env={},
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        logger.warning("whatsapp thumbnail not made", extra={"error": type(error).__name__})
        return None
    if done.returncode != 0:
        # The last line names the error; what is before it may quote the picture.
        last = done.stderr.decode("ascii", "replace").strip().rpartition("\n")[2]
        extra = {"status": done.returncode, "error": last.partition(":")[0][:100]}
        logger.info("whatsapp thumbnail not made", extra=extra)
        return None
    is_sound = done.stdout.startswith(BEGINNING) and len(done.stdout) <= MOST_RESULT
    return done.stdout if is_sound else None
