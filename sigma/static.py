"""Static files from memory: however many read one, and however slowly, it is there once."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class Static(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Whitenoise, whose answers would each hold an open file until they are read (middleware)."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponseBase:
        """Answer with the whole file; parts of it would be copies."""
        request.META.pop("HTTP_RANGE", None)
        found: FileResponse = WhiteNoiseMiddleware.serve(static_file, request)
        file = found.file_to_stream
        if file is None:  # not modified, or nobody asks for more than the headers
            return found
        with file:
            content = _content(Path(file.name), os.fstat(file.fileno()).st_mtime_ns)
        return HttpResponse(content, status=found.status_code, headers=found.headers)


@cache
def _content(path: Path, changed_at: int) -> bytes:
    """Return a file of ours as it was when it was changed: bounded by how many there are."""
    return path.read_bytes()
