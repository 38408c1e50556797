"""What docs/files.md tells people to type works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from lib import clock
from messaging.delivery.queues import SENDS
from messaging.models import Conversation, Message
from tests.conftest import Cast
from tests.files.samples import PDF, PNG
from tests.sending.conftest import hear
from tests.whatsapp.conftest import Web

DOCUMENT = (Path(__file__).parents[2] / "docs/files.md").read_text(encoding="utf-8")
BLOCKS = [b for b in re.findall(r"```sh\n(.+?)```", DOCUMENT, re.DOTALL) if b.startswith("curl")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("block", BLOCKS)
def test_what_it_tells_people_to_type_works(
    block: str, web: Web, acme: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(SENDS), "notify", lambda wake_up, slot=0: True)
    hear(acme, clock.now() - timedelta(hours=1))
    (tmp_path / "invoice.pdf").write_bytes(PDF)
    (tmp_path / "photo.png").write_bytes(PNG)
    named = {
        "SIGMA": f"http://127.0.0.1:{web.port}",
        "KEY": acme.api_key,
        "W": str(acme.workspace.id),
        "C": str(Conversation.objects.get().id),
    }

    said = subprocess.run(
        ["bash", "-c", block],  # noqa: S607 - whichever there is
        cwd=tmp_path,
        env={**os.environ, **named},
        capture_output=True,
        check=True,
    )

    answer = json.loads(said.stdout)
    if "/messages" in block:
        assert Message.objects.get(pk=answer["message_id"]).text == "Your invoice"
        return
    assert answer["size"] == (len(PDF) if "pdf" in block else len(PNG))
