"""Everything that is counted, timed or read for ``/metrics``, declared once; ``docs/metrics.md`` is
the catalogue for operators.

Processes count in files (:mod:`lib.counts`), and whoever is asked adds all of them up.

No label has many values, and none says anything of a person. Tenants are no label: their number has
no bound and their names are customers' names; the ledger and the admin have figures per tenant.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from django.conf import settings
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from lib.counts import BROKEN, Slots, WholeFile, is_whole

# Different codes of errors that a process counts; Meta may make up new ones.
MOST_CODES = 100
# What writing raises in a forked process that finds no slot, or no file, of its own.
UNWRITABLE = (OSError, AttributeError, TypeError)

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
STEPS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
WAITS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
ANSWERS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 65)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

SLOTS = Slots(settings.SIGMA_METRICS_FOLDER)
# Why this process counts for itself alone; empty: it does not.
trouble = ""
try:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(settings.SIGMA_METRICS_FOLDER)
    values.MmapedDict = WholeFile  # type: ignore[attr-defined]

    class _Shared(values.MultiProcessValue(SLOTS.own)):  # type: ignore[misc]
        """A value in a file. One that cannot be written must not end the work that it counts."""

        def __init__(self, *description: Any, **more: Any) -> None:
            with suppress(*UNWRITABLE):
                super().__init__(*description, **more)

        def inc(self, amount: float) -> None:
            try:  # noqa: SIM105 - cheaper than suppress, in the path of every callback
                super().inc(amount)
            except UNWRITABLE:
                pass

        def set(self, value: float, timestamp: float | None = None) -> None:
            with suppress(*UNWRITABLE):
                super().set(value, timestamp)

    values.ValueClass = _Shared
except OSError as error:
    trouble = error.strerror or type(error).__name__
    values.ValueClass = values.MutexValue
disable_created_metrics()  # type: ignore[no-untyped-call]


class Described(NamedTuple):
    """A metric as the catalogue lists it."""

    kind: str
    labels: tuple[str, ...]
    help: str


CATALOGUE: dict[str, Described] = {}
_OWN = CollectorRegistry()


class ReadGauge:
    """A gauge whose values are read when somebody asks, from what stands in the database."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        CATALOGUE[name] = Described("gauge", labels, text)
        self._name, self._text, self._labels = name, text, labels

    def of(self, samples: Mapping[str, float] | float) -> Metric:
        """Return it with a value for each value of its label, or with its one value."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        found = samples if isinstance(samples, Mapping) else {"": samples}
        for label, value in found.items():
            family.add_metric([label] if self._labels else [], value)
        return family


def _counter(name: str, text: str, *labels: str) -> Counter:
    CATALOGUE[name] = Described("counter", labels, text)
    return Counter(name, text, labels, registry=_OWN)


def _histogram(name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
    CATALOGUE[name] = Described("histogram", labels, text)
    return Histogram(name, text, labels, buckets=tuple(buckets), registry=_OWN)


def _gauge(name: str, text: str) -> Gauge:
    CATALOGUE[name] = Described("gauge", (), text)
    return Gauge(name, text, registry=_OWN, multiprocess_mode="livesum")


ACCEPTED = _counter("sigma_callbacks_accepted_total", "Callbacks that were committed.")
CALLBACK_BYTES = _counter("sigma_callback_bytes_total", "Bytes of bodies that went into a commit.")
REFUSED = _counter(
    "sigma_callbacks_refused_total", "Callbacks and handshakes that were not accepted.", "reason"
)
WAITING = _gauge("sigma_callbacks_waiting", "Callbacks that wait for a commit in a web process.")
COMMIT_CALLBACKS = _histogram("sigma_commit_callbacks", "Callbacks in one commit.", SIZES)
COMMIT_SECONDS = _histogram("sigma_commit_seconds", "Seconds of a commit, sealing included.", FAST)
COMMITS_FAILED = _counter("sigma_commits_failed_total", "Commits that failed or took too long.")
CONNECTIONS_REFUSED = _counter(
    "sigma_connections_refused_total", "Connections and requests refused by a bound.", "reason"
)
REQUESTS = _counter(
    "sigma_requests_total", "Requests that were answered, but for callbacks.", "door", "status"
)
REQUEST_SECONDS = _histogram(
    "sigma_request_seconds", "Seconds until the answer to a request began.", STEPS, "door"
)
STEP_SECONDS = _histogram(
    "sigma_work_step_seconds", "Seconds of a step that found something to do.", STEPS, "work"
)
ITEMS = _counter("sigma_work_items_total", "Items that these steps claimed.", "work")
STOPS = _counter("sigma_work_stops_total", "Stops because everything failed alike.", "work")
DEFERRED = _counter(
    "sigma_work_deferred_total", "Turns that ended because the database was away.", "work"
)
CALLBACK_LAG = _histogram(
    "sigma_callback_lag_seconds", "Seconds until a batch's oldest callback was stored.", WAITS
)
SENDS = _counter(
    "sigma_sends_total", "Attempts to send by resulting state and Meta's code.", "state", "code"
)
SEND_SECONDS = _histogram("sigma_send_seconds", "Seconds until Meta answered a send.", ANSWERS)
EVENTS = _counter("sigma_events_total", "Attempts to deliver an event, by result.", "result")

DATABASE_UP = ReadGauge("sigma_database_up", "Whether the database answered in time.")
BROKER_UP = ReadGauge("sigma_broker_up", "Whether the broker answered and has room.")
QUEUE_PENDING = ReadGauge("sigma_queue_pending", "Items that are due, counted to 100000.", "queue")
QUEUE_OLDEST = ReadGauge(
    "sigma_queue_oldest_seconds", "Seconds since the oldest of these was due.", "queue"
)
LEDGER = ReadGauge("sigma_ledger_updates", "Updates by where they ended.", "outcome")
PAUSES = ReadGauge("sigma_sending_pauses", "Pauses of sending that hold now, by code.", "code")
HEARTBEAT = ReadGauge(
    "sigma_heartbeat_age_seconds", "Seconds since any process of a role was heard of.", "role"
)
CLOCK_AHEAD = ReadGauge(
    "sigma_clock_ahead_seconds", "How far a host's clock is ahead of the database's.", "role"
)
STOPPED = ReadGauge("sigma_work_stopped", "Whether work is stopped now.", "work")

_codes: set[str] = set()


def code_of(code: object) -> str:
    """Return an error's code as a label; ``other`` for all beyond the first ones that came."""
    text = str(code)[:32]
    if text in _codes or len(_codes) < MOST_CODES:
        _codes.add(text)
        return text
    return "other"


def exposition(read: Iterable[Metric]) -> bytes:
    """Return what all processes counted, and what was ``read``, as Prometheus text (0.0.4)."""
    registry = CollectorRegistry()
    registry.register(_Given([*_counted(), *read]))
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = sorted(metrics, key=lambda metric: metric.name)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _counted() -> Iterable[Metric]:
    if trouble:
        return _OWN.collect()
    files = SLOTS.files()
    try:
        return MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call, no-any-return]
    except BROKEN:
        whole = [file for file in files if is_whole(file)]
        return MultiProcessCollector.merge(whole)  # type: ignore[no-untyped-call, no-any-return]
