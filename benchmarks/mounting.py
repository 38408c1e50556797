"""How Django is mounted behind the receiver: pages per second, and what they cost the callbacks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks import load
from benchmarks.processes import Server
from benchmarks.product import Product
from benchmarks.reading import Reader
from benchmarks.report import Figure

READERS = 8
CALLBACKS = 500  # a second, beside the readers


def measure(product: Product, *, seconds: float) -> list[Figure]:
    """Read pages over several connections at once, both ways; then with callbacks beside them."""
    web, url = product.web()
    try:
        threads = _pages(product, url, seconds)
        alone = _callbacks(product, url, seconds)
        with _readers(product, url):
            beside = _callbacks(product, url, seconds)
    finally:
        web.stop()
    handler = _with_django_asgi(product, seconds)
    group = "Django behind the receiver"
    return [
        Figure(group, "GraphQL pages, WSGI in threads", threads, "/s", note=f"{READERS} readers"),
        Figure(group, "GraphQL pages, Django's ASGI handler", handler, "/s"),
        Figure(group, "threads ÷ ASGI handler", threads / max(1.0, handler), "×"),
        Figure(group, "callbacks p99, nobody reads", alone, "ms", note=f"{CALLBACKS}/s offered"),
        Figure(group, "callbacks p99, everybody reads", beside, "ms"),
    ]


def _with_django_asgi(product: Product, seconds: float) -> float:
    web: Server
    web, url = product.web(application="benchmarks.django_asgi:application")
    try:
        return _pages(product, url, seconds)
    finally:
        web.stop()


def _pages(product: Product, url: str, seconds: float) -> float:
    with _readers(product, url) as counts:
        time.sleep(seconds / 4)
        before, started = sum(counts), time.perf_counter()
        time.sleep(seconds)
        return (sum(counts) - before) / (time.perf_counter() - started)


def _callbacks(product: Product, url: str, seconds: float) -> float:
    spec = replace(
        product.spec(url, count=int(CALLBACKS * seconds)), rate=CALLBACKS, connections=16
    )
    outcome = load.run(spec)
    product.empty()
    return outcome.milliseconds(0.99)


@contextmanager
def _readers(product: Product, url: str) -> Iterator[list[int]]:
    """Let readers ask for the first page again and again; yields how often each got one."""
    counts, stop = [0] * READERS, threading.Event()

    def read(number: int) -> None:
        reader = Reader(product, url)
        while not stop.is_set():
            reader.first_page()
            counts[number] += 1

    threads = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()
