"""``manage.py simulate meta``: serve the simulated Meta until somebody stops it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from django.conf import settings

from connectors.simulator.facts import NobodyToWriteTo
from connectors.simulator.meta import control
from connectors.simulator.meta.handshake import subscribe_all
from connectors.simulator.meta.seeds import business, sample
from connectors.simulator.meta.server import HOST, address, listen, serving
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import World, read
from workspaces import demo_facts

PORT = 8090
# Slow enough to watch.
STATUS_DELAYS = "200,800,2000"
HELP = "Meta's Graph API and callbacks, for programs on this machine."
DESCRIPTION = (
    "Serve a simulator of Meta's WhatsApp Cloud API on loopback: the Graph API for messages, "
    "templates, media and numbers, and signed callbacks. Everything is in memory and ends with it. "
    "docs/simulator.md has the recipients that do something on purpose, and the control API."
)


class UnableToServe(Exception):
    """The simulator cannot listen there, or cannot read its configuration."""


def add_arguments(parser: ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("--host", default=HOST, help="A loopback address; any other is refused.")
    add("--port", type=int, default=PORT, help=f"Default {PORT}; 0: any that is free.")
    world = parser.add_mutually_exclusive_group()
    world.add_argument("--config", type=Path, help="JSON: apps, accounts, tokens, options.")
    world.add_argument("--demo", action="store_true", help="Be Meta for the demo of make up.")
    add("--answer-delay", type=float, metavar="MS", help="Before every answer (default 0).")
    add(
        "--status-delays",
        type=_delays,
        metavar="MS,MS,MS",
        help=f"From acceptance to sent, delivered, read (default {STATUS_DELAYS}).",
    )
    add("--duplicates", type=_percent, metavar="%", help="Updates that are sent twice.")
    add("--disorder", type=_percent, metavar="%", help="Updates that later ones overtake.")
    add("--loss", type=_percent, metavar="%", help="Updates that are never sent.")
    add("--batch", type=int, metavar="N", help="Most updates in one callback (default 1).")
    add("--throughput", choices=("STANDARD", "HIGH"), help="80 or 1,000 messages a second.")
    add("--auto-reply", metavar="TEXT", help="What people answer when they have read.")
    add("--seed", type=int, help="Which updates are lost, repeated, overtaken.")


def run(options: dict[str, Any], *, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        NotLoopback: a host that others could reach.
        UnableToServe: the port is taken, the file is not there.
        Unreadable, NobodyToWriteTo: see there.
    """
    world = _world(options)
    try:
        listener = listen(options["host"], options["port"])
    except OSError as error:
        where = f"{options['host']}:{options['port']}"
        raise UnableToServe(f"The simulator cannot listen on {where}: {error.strerror}.") from error
    say(control.front_page(address(listener)))
    for line in _described(world):
        say(line)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        sim = Simulator(world)
        async with serving(sim, listener):
            subscribing = asyncio.create_task(subscribe_all(sim, say))
            await stop.wait()
            subscribing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await subscribing

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    say("The simulator of Meta has stopped.")


def _world(options: dict[str, Any]) -> World:
    if options["config"] is not None:
        try:
            document = options["config"].read_bytes()
        except OSError as error:
            raise UnableToServe(f"{options['config']}: {error.strerror}.") from error
        world = read(document)
    else:
        world = _demo_world(settings.SIGMA_HOME) if options["demo"] else sample()
        world.options.status_delays_ms = _delays(STATUS_DELAYS)
    _apply(world, options)
    return world


def _demo_world(home: Path) -> World:
    """Return the world of the demo whose facts ``make up`` wrote to ``<home>/demo.json``.

    Raises:
        NobodyToWriteTo: no such file, or one that lacks a fact.
    """
    known = demo_facts.read(home)
    if known is None:
        path = home / demo_facts.FILE_NAME
        raise NobodyToWriteTo(f"{path} is missing or incomplete. Start the demo with: make up")
    return business(
        app_secret=known.app_secret,
        access_token=known.access_token or "simulated-access-token",
        verify_token=known.verify_token,
        callback_url=known.callback_url,
        waba_id=known.waba_id,
        phone_number_id=known.phone_number_id,
    )


def _apply(world: World, options: dict[str, Any]) -> None:
    names = {
        "answer_delay": "answer_delay_ms",
        "status_delays": "status_delays_ms",
        **{name: name for name in ("duplicates", "disorder", "loss", "batch", "seed")},
        "auto_reply": "auto_reply",
    }
    for option, name in names.items():
        if options[option] is not None:
            setattr(world.options, name, options[option])
    for account in world.accounts:
        for number in account.numbers:
            number.throughput = options["throughput"] or number.throughput


def _described(world: World) -> list[str]:
    """Return what is there, without a secret."""
    lines = []
    for account in world.accounts:
        numbers = ", ".join(number.id for number in account.numbers)
        names = ", ".join(dict.fromkeys(template.name for template in account.templates))
        lines.append(
            f"Account {account.id}: phone number ID {numbers}; templates {names or 'none'}"
        )
    lines += [
        f"App {app.id}: callbacks go to {app.callback_url or 'nobody, see /sim/webhooks'}"
        for app in world.apps
    ]
    return lines


def _delays(text: str) -> tuple[float, float, float]:
    try:
        sent, delivered, read_at = (float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError("three numbers with commas, such as 200,800,2000") from None
    return sent, delivered, read_at


def _percent(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise ArgumentTypeError("a number from 0 to 100")
    return share
