"""Files that tenants have given us, without a web process."""

from __future__ import annotations

from uuid import UUID

from lib import clock
from messaging import uploads
from messaging.uploads import FileIntake
from tests.conftest import Cast
from tests.files.samples import PDF


def kept(cast: Cast, content: bytes = PDF, name: str = "invoice.pdf") -> UUID:
    """Keep a file of the cast's; return its id."""
    intake = FileIntake(cast.tenant.id, declared="", filename=name)
    intake.add(content)
    received = intake.finish()
    return uploads.keep(received, workspace_id=cast.workspace.id, now=clock.now()).id
