"""A single message while a broadcast runs on its number: from the call of the API to Meta."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import quantiles

from benchmarks.broadcasting import Door, begin_broadcast
from benchmarks.outgoing import meta as metas
from benchmarks.outgoing.meta import Meta
from benchmarks.outgoing.queued import enqueue
from benchmarks.outgoing.writer import FIRST, WRITER, world
from benchmarks.processes import Server
from benchmarks.product import Product
from benchmarks.report import Figure
from sigma import programs

GROUP = "single sends beside a broadcast"
SEND = """mutation($input: SendWhatsAppMessageInput!) {
    sendWhatsAppMessage(input: $input) { success messageId errors { message } } }"""
# What Meta allows a number until it asks for more (Meta, "Throughput").
THROUGHPUT, RATE = "STANDARD", 80
PAUSE_SECONDS = 0.3
SETTLE_SECONDS = 5.0
# What waits for its turn; a claimed message is due again in 20 seconds, should its sender die.
WAITING = """
SELECT count(*) FROM outbox
WHERE broadcast_id IS NOT NULL AND due_at <= clock_timestamp() + interval '2 seconds'
"""


def measure(product: Product, *, people: int, presses: int) -> list[Figure]:
    """Start a broadcast to ``people`` people, then send single messages through the same number."""
    writer = replace(WRITER, throughput=THROUGHPUT)
    web, url = product.web()
    described = world(url)
    described.accounts[0].numbers[0].throughput = THROUGHPUT
    described.options.window = "off"
    meta = metas.start(described, product.home)
    env = {**product.env, "SIGMA_GRAPH_URL": meta.graph_url}
    enqueued = enqueue(writer, env)
    door = Door(url, enqueued.api_key, enqueued.workspace_id)
    beat = Server(programs.beat(env).argv, env=env, log=product.home / "beat.log")
    workers = (product.worker(), product.sending(env), beat)
    try:
        begin_broadcast(door, people)
        _wait_for(meta, requests=RATE)
        time.sleep(SETTLE_SECONDS)
        pressed, waiting = [], list[int]()
        for n in range(presses):
            pressed.append(_press(door, people + n))
            waiting.append(product.number(WAITING))
        _wait_for(meta, requests=meta.requests() + RATE * 2)
        journal = {
            str(e["biz_opaque_callback_data"]): float(str(e["time"]))
            for e in meta.journal()
            if e.get("is_processed")
        }
    finally:
        for server in (*workers, web):
            server.stop()
        meta.stop()
        product.empty()
    waits = sorted(journal[one] - at for one, at in pressed if one in journal)
    times = sorted(journal.values())
    rate = (len(times) - 1) / (times[-1] - times[0])
    cuts = quantiles(waits, n=100)
    depth = f"{min(waiting)} to {max(waiting)} messages"
    note = f"{len(waits)} of {presses} sent; a broadcast to {people:,} at {RATE} a second"
    return [
        Figure(GROUP, "call → post, p50", cuts[49], "s", 0.1, at_least=False, note=note),
        Figure(GROUP, "call → post, p99", cuts[98], "s", 0.5, at_least=False),
        Figure(GROUP, "not sent", presses - len(waits), "", 0, at_least=False),
        Figure(GROUP, "sent by the number, all told", rate, "/s", 0.9 * RATE),
        Figure(
            GROUP,
            "of the broadcast, queued",
            max(waiting) / RATE,
            "s",
            1.1,
            at_least=False,
            note=depth,
        ),
    ]


def _press(door: Door, number: int) -> tuple[str, float]:
    """Send a template to one person; return the message's id and when it was asked for."""
    given = {
        "workspaceId": door.workspace_id,
        "recipientPhone": f"+{FIRST + number}",
        "templateName": "welcome_message",
        "language": "en",
        "templateParams": ["Somebody"],
    }
    at = time.time()
    sent = door.ask(SEND, input=given)["sendWhatsAppMessage"]
    assert sent["success"], sent
    time.sleep(PAUSE_SECONDS)
    return str(sent["messageId"]), at


def _wait_for(meta: Meta, *, requests: int) -> None:
    deadline = time.monotonic() + 120
    while meta.requests() < requests:
        if time.monotonic() > deadline:
            raise TimeoutError("The broadcast is not sent.")
        time.sleep(0.1)
