"""Queue messages in bulk, as queueing would leave them, without going through it: a process of its
own, because it needs the installation's settings.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import django

CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Order:
    """``count`` texts of one number, each to a person of his own; the tenant and the number are
    made where there are none; ``with_key`` also what it takes to send through the API.
    """

    slug: str
    phone_number_id: str
    waba_id: str
    access_token: str
    app_secret: str
    count: int
    throughput: str = "STANDARD"
    first_phone: int = 15_550_000_000
    wakes: bool = True
    with_key: bool = False


@dataclass(frozen=True, slots=True)
class EnqueuedSends:
    """Whose the messages are, and the API key that was made."""

    tenant_id: str
    workspace_id: str
    api_key: str = field(default="", repr=False)


def enqueue(order: Order, env: Mapping[str, str]) -> EnqueuedSends:
    """Store the messages and wake the senders."""
    argv = [
        sys.executable,
        "-m",
        "benchmarks.outgoing.queued",
        json.dumps(dataclasses.asdict(order)),
    ]
    done = subprocess.run(argv, env=dict(env), check=True, stdout=subprocess.PIPE)
    return EnqueuedSends(**json.loads(done.stdout.splitlines()[-1]))


def _main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "sigma.settings"
    django.setup()
    # Only now: the models need Django.
    from benchmarks.outgoing import filling

    print(json.dumps(dataclasses.asdict(filling.fill(Order(**json.loads(sys.argv[1]))))))


if __name__ == "__main__":
    _main()
