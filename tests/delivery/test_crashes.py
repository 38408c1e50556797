"""The short form of ``make crashes``: a sender dies between every two steps of a send."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from django.db import connection

from benchmarks.crashes.victims import STEPS
from benchmarks.outgoing import verdict
from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp.processing import process_batch
from messaging import transitions
from messaging.models import Message, PendingSend
from tests.conftest import Cast
from tests.delivery.outgoing import queue
from tests.whatsapp import deliveries
from workspaces import secrets
from workspaces.models import SecretKind

pytestmark = pytest.mark.django_db(transaction=True)
# A sender claims eight messages of such a number before it dies.
EACH = 12


@pytest.fixture
def meta(acme: Cast) -> Iterator[RunningSimulator]:
    """A Meta that knows acme's number and answers after 100 ms; its callbacks are only logged."""
    with RunningSimulator() as simulator:
        simulator.control.options(answer_delay_ms=100, window="off", status_delays_ms=[1, 2, 3])
        acme.workspace.external_id = simulator.phone_number_id
        acme.workspace.save()
        secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value=simulator.token)
        secrets.add(
            tenant=acme.tenant, kind=SecretKind.APP_SECRET, value="simulated-app-secret"
        )  # as the channel proves it
        yield simulator


def senders(meta: RunningSimulator) -> subprocess.Popen[str]:
    """Start the process that makes senders, on the test's engines."""
    known = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "sigma.settings",
        "SIGMA_GRAPH_URL": meta.url,
        "DATABASE_URL": "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known),
    }
    argv = [sys.executable, "-m", "benchmarks.crashes.victims"]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, env=env, stdin=pipe, stdout=pipe, text=True)


def states() -> dict[str, str]:
    return {str(one): state for one, state in Message.objects.values_list("id", "status")}


def settle(cast: Cast, meta: RunningSimulator) -> None:
    """Receive every callback that the platform made so far."""
    for made in meta.control.deliveries():
        deliveries.deliver(cast.tenant.id, made["body"].encode())
    while process_batch(100):
        pass


def test_it_posts_nothing_twice_and_loses_nothing_wherever_a_sender_dies(
    acme: Cast, meta: RunningSimulator, wait_for: Callable[..., None]
) -> None:
    now = datetime.now(UTC)
    for _ in STEPS * EACH:
        queue(acme, now)
    steps = [step for step in STEPS if step != "none"]
    process = senders(meta)
    out, _ = process.communicate("".join(f"{step} 1\n" for step in [*steps, "none"]))
    ended = dict(line.split() for line in out.splitlines())
    PendingSend.objects.filter(lease_until__isnull=False).update(lease_until=now)
    transitions.expire(now=now)
    wait_for(lambda: not meta.control.state()["scheduled"])
    settle(acme, meta)

    found = verdict.judge(meta.control.journal(), states())
    assert ended == {**dict.fromkeys(steps, "-9"), "none": "0"}
    assert (found.twice, found.lost, found.unsettled) == (0, 0, 0), found
    assert found.requests and found.in_doubt, "nothing was in anybody's hands"
