"""The Celery application: wake-ups and a clock. Pending work is a row; tasks carry no payload."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys

from celery import Celery
from celery.signals import celeryd_init, worker_init, worker_process_init

from lib import structs
from lib.heartbeat import ProcessHeartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sigma.settings")

PR_SET_PDEATHSIG = 1
# Processing may wait for a moment; whoever waits for an answer goes first.
NICE = 5

app = Celery("sigma")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery's Django fixup reconnects to the database around every task unless told to reuse.
app.conf["CELERY_DB_REUSE_MAX"] = 1000
app.autodiscover_tasks(["messaging.delivery"])
app.autodiscover_tasks(
    ["connectors.whatsapp", "connectors.events", "messaging.broadcasts", "messaging"]
)
app.autodiscover_tasks(["templates_wa", "sigma"])


@worker_init.connect
def warm_structs(**_: object) -> None:
    """Prepare the structs of all tasks' modules; pool processes inherit them."""
    structs.warm()


# The name of this worker, without its host; its pool processes inherit it.
role = "worker"


@celeryd_init.connect
def remember_role(sender: str, **_: object) -> None:
    """Know under which name the pool processes are heard of."""
    global role
    role = sender.partition("@")[0]


@worker_process_init.connect
def be_heard(**_: object) -> None:
    """Let ``/healthz`` know that this pool process lives."""
    ProcessHeartbeat(role).start()


@worker_process_init.connect
def die_with_the_parent(**_: object) -> None:
    """Ask the kernel to end this pool process when its parent is killed: none is orphaned."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@worker_process_init.connect
def collect_less(**_: object) -> None:
    """Leave what was loaded at the start out of every garbage collection, and collect less often.

    A batch makes tens of thousands of short-lived objects and no cycles. Measured by `make bench`:
    a fifth of the worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)


@worker_process_init.connect
def give_way(**_: object) -> None:
    """Let web processes of the same machine go first."""
    os.nice(NICE)
