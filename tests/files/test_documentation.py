"""What docs/files.md tells people to type works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp.processing import process_batch
from lib import clock
from messaging import fetching
from messaging.delivery.queues import SENDS
from messaging.models import Conversation, Media, Message
from tests.conftest import Cast
from tests.files.kept import kept
from tests.files.samples import PDF, PNG
from tests.sending.conftest import hear
from tests.whatsapp.conftest import Web
from workspaces import secrets
from workspaces.models import ArchiveKey, SecretKind

DOCUMENT = (Path(__file__).parents[2] / "docs/files.md").read_text(encoding="utf-8")
TO_SEND, ARCHIVE = (
    [block for block in re.findall(r"```sh\n(.+?)```", part, re.DOTALL) if block.startswith("curl")]
    for part in DOCUMENT.split("## Files that people sent")
)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("block", TO_SEND)
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
        "MEDIA_ID": str(kept(acme)),
    }

    answer = json.loads(typed(block, tmp_path, named))
    if "/messages" in block:
        assert Message.objects.get(pk=answer["message_id"]).text == "Your invoice"
        return
    assert answer["size"] == (len(PNG) if "png" in block else len(PDF))


def typed(block: str, folder: Path, named: dict[str, str]) -> bytes:
    """Type a block into a shell; return what it prints."""
    said = subprocess.run(
        ["bash", "-c", block],  # noqa: S607 - whichever there is
        cwd=folder,
        env={**os.environ, **named},
        capture_output=True,
        check=True,
    )
    return said.stdout


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_an_archived_file_is_served_after_the_simulated_meta_forgot_it(
    web: Web,
    acme: Cast,
    globex: Cast,
    tmp_path: Path,
    settings: Any,
    wait_for: Callable[..., None],
    no_wake_ups: Callable[[], int],
) -> None:
    acme.tenant.archive = ArchiveKey.DAY
    acme.tenant.save()
    secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="EAAG-of-acme")
    world = business(
        app_secret=acme.app_secret,
        access_token="EAAG-of-acme",
        waba_id=acme.workspace.waba_id,
        phone_number_id=acme.workspace.external_id,
        callback_url=f"http://127.0.0.1:{web.port}{acme.path}",
    )
    with RunningSimulator(world) as meta:
        settings.SIGMA_GRAPH_URL = meta.url
        meta.control.inbound("+447700900123", kind="image")
        wait_for(lambda: process_batch(10) == 1)
        for one in fetching.claim(now=clock.now(), limit=10):
            fetching.fetch(one)
        file = Media.objects.get()
        named = {
            "SIGMA": f"http://127.0.0.1:{web.port}",
            "META": meta.url.rpartition("/")[0],
            "KEY": acme.api_key,
            "M": str(file.message_id),
            "FILE": str(file.id),
        }
        read, forget, load, load_small = ARCHIVE

        shown = json.loads(typed(read, tmp_path, named))["media"]
        assert (shown["id"], shown["archive_state"]) == (str(file.id), "KEPT")
        typed(forget, tmp_path, named)
        assert meta.control.state()["files"] == 0
        typed(load, tmp_path, named)
        (loaded,) = tmp_path.glob("*.png")
        assert loaded.read_bytes().startswith(b"\x89PNG")
        typed(load_small, tmp_path, named)
        assert (tmp_path / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8")
        typed(load, tmp_path, {**named, "KEY": globex.api_key})
        assert b"NOT_FOUND" in (tmp_path / str(file.id)).read_bytes()
