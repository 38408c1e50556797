"""The walk in docs/broadcasts.md, from a picture to everybody's own, works as it stands there."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from connectors.simulator.meta.server import RunningSimulator
from lib import clock
from messaging.broadcasts.tending import tend
from messaging.delivery.queues import SENDS
from messaging.delivery.sender import Sender
from messaging.models import Message, UploadHandle
from templates_wa.sync import sync
from tests.conftest import Cast
from tests.delivery.conftest import sender
from tests.files.conftest import folder
from tests.files.samples import PNG
from tests.templates_wa.test_examples import meta
from tests.whatsapp.conftest import Web, web

__all__ = ["folder", "meta", "sender", "web"]

DOCUMENT = (Path(__file__).parents[2] / "docs/broadcasts.md").read_text(encoding="utf-8")
SECTION = DOCUMENT.partition("## A picture of their own")[2].partition("\n## ")[0]
SCRIPT = "set -e\n" + "".join(re.findall(r"```sh\n(.+?)```", SECTION, re.DOTALL))
PEOPLE = 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="no curl or no jq")
def test_everybody_gets_a_picture_of_their_own(
    web: Web,
    acme: Cast,
    globex: Cast,
    meta: RunningSimulator,
    sender: Sender,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(SENDS), "notify", lambda wake_up, slot=0: True)
    meta.control.options(review_delay_ms=0)
    (tmp_path / "example.png").write_bytes(PNG)
    customers = [f"+99955500000{n},{n},Ada {n},{n}.png" for n in range(PEOPLE)]
    (tmp_path / "customers.csv").write_text("\n".join((*customers, "")))
    for n in range(PEOPLE):
        (tmp_path / f"{n}.png").write_bytes(PNG + bytes([n]))
    named = {
        "SIGMA": f"http://127.0.0.1:{web.port}",
        "KEY": acme.api_key,
        "W": str(acme.workspace.id),
    }

    walk = subprocess.Popen(
        ["bash", "-c", SCRIPT],  # noqa: S607 - whichever there is
        cwd=tmp_path,
        env={**os.environ, **named},
    )
    end = time.monotonic() + 60
    while walk.poll() is None and time.monotonic() < end:  # what the workers do meanwhile
        sync(acme.workspace, now=clock.now())
        tend(idle_wait=0.0)
        sender.work()
        sender.settle()
    assert walk.poll() == 0

    rows = list(csv.DictReader((tmp_path / "outcomes.csv").open()))
    assert [(row["reference"], row["state"]) for row in rows] == [
        (str(n), "QUEUED") for n in range(PEOPLE)
    ]
    assert set(Message.objects.values_list("status", flat=True)) == {"accepted"}
    sent = {entry["files"][0] for entry in meta.control.journal()}
    given = UploadHandle.objects.values_list("platform_media_id", flat=True)
    assert sent == {f"image:{media_id}" for media_id in given}
    assert len(sent) == PEOPLE
