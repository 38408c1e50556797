"""What docs/templates.md tells people to type works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from connectors.simulator.meta.server import RunningSimulator
from lib import clock
from templates_wa.models import Template
from templates_wa.sync import sync
from tests.conftest import Cast
from tests.files.conftest import folder
from tests.files.samples import PNG
from tests.templates_wa.test_examples import meta
from tests.whatsapp.conftest import Web, web

__all__ = ["folder", "meta", "web"]

DOCUMENT = (Path(__file__).parents[2] / "docs/templates.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.+?)```", DOCUMENT, re.DOTALL)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="no curl or no jq")
@pytest.mark.parametrize("block", BLOCKS)
def test_what_it_tells_people_to_type_works(
    block: str, web: Web, acme: Cast, globex: Cast, meta: RunningSimulator, tmp_path: Path
) -> None:
    meta.control.options(review_delay_ms=0)
    (tmp_path / "offer.png").write_bytes(PNG)
    named = {
        "SIGMA": f"http://127.0.0.1:{web.port}",
        "KEY": acme.api_key,
        "W": str(acme.workspace.id),
    }

    said = subprocess.run(
        ["bash", "-c", block],  # noqa: S607 - whichever there is
        cwd=tmp_path,
        env={**os.environ, **named},
        capture_output=True,
        check=True,
    )

    answer: dict[str, Any] = json.loads(said.stdout)
    assert answer["status"] == "PENDING"
    sync(acme.workspace, now=clock.now())
    row = Template.objects.get(pk=answer["id"])
    assert (row.tenant_id, row.status) == (acme.tenant.id, "APPROVED")
    assert not Template.objects.filter(tenant_id=globex.tenant.id).exists()
