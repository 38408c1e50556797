"""The process that makes one thumbnail: a picture on its standard input, a JPEG on its output.

Whatever a picture does to its decoder ends with this process, which is given no secret, may use
only so much memory and time, begins no other process, and can write into no file.
:mod:`lib.thumbnails` runs it by its path: nothing of ours is imported.

It is the same user's: what this does not bound is somebody who takes the decoder over.
"""

from __future__ import annotations

import io
import resource
import sys

from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP")
OPEN_FILES, QUALITY = 16, 80
WHITE = (255, 255, 255)


def limit(memory: int, seconds: int) -> None:
    """Bound this process: bytes of address space, seconds of processor time, no files, and no
    process beside it (but for root, whom that limit does not bind).
    """
    bounds = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    for kind, most in bounds.items():
        resource.setrlimit(kind, (most, most))


def small(content: bytes, *, edge: int, most_pixels: int) -> bytes:
    """Return a picture of at most ``edge`` by ``edge`` pixels, upright, as JPEG, on white.

    Raises:
        ValueError: it has too many pixels; the decoder raises whatever it does of others.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        if picture.width * picture.height > most_pixels:  # told by its head; nothing is unpacked
            raise ValueError("too many pixels")
        picture.draft("RGB", (2 * edge, 2 * edge))  # JPEG: decoded at a fraction of its size
        picture.thumbnail((edge, edge))
        upright = ImageOps.exif_transpose(picture)
        page = Image.new("RGB", upright.size, WHITE)
        shown = upright.convert("RGBA")
        page.paste(shown, mask=shown.getchannel("A"))
        out = io.BytesIO()
        page.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def main(edge: str, most_pixels: str, memory: str, seconds: str) -> None:
    """Do it."""
    limit(int(memory), int(seconds))
    content = sys.stdin.buffer.read()
    sys.stdout.buffer.write(small(content, edge=int(edge), most_pixels=int(most_pixels)))


if __name__ == "__main__":
    main(*sys.argv[1:])
