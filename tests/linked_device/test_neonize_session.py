"""A session's real process with the real library, as far as it goes without WhatsApp."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from connectors.linked_device.leases import ExitCode
from connectors.linked_device.models import PairBy, Wanted
from tests.conftest import Cast
from tests.linked_device import devices, neonize_pb

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(neonize_pb.__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"


def environment(store: Path) -> dict[str, str]:
    """Return that of a session's process on the tests' database, from which nothing leaves."""
    known = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known)
    return {
        **os.environ,
        "DATABASE_URL": url,
        "SIGMA_SENDER_STORE": str(store),
        "SIGMA_SENDER_DEVICE": "whatsapp",
        "HTTPS_PROXY": NOWHERE,
        "https_proxy": NOWHERE,
    }


def test_it_says_in_its_row_that_whatsapp_cannot_be_reached(acme: Cast, tmp_path: Path) -> None:
    session = devices.session_of(devices.linked(acme), wanted=Wanted.RUNNING, pair_by=PairBy.QR)

    done = subprocess.run(
        [sys.executable, "manage.py", "sender", "session", str(session.id)],
        cwd=ROOT,
        env=environment(tmp_path),
        timeout=120,
        check=False,
        capture_output=True,
        text=True,
    )

    session.refresh_from_db()
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, ""), done.stderr[-500:]
    assert session.library.startswith("neonize")
    assert "could not be reached" in session.reason
