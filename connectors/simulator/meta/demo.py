"""The demo tenant's world: its number, its token, its callback address."""

from __future__ import annotations

from pathlib import Path

from connectors.simulator.facts import NobodyToWriteTo
from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.world import World
from workspaces import demo_facts


def of_demo(home: Path) -> World:
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
        access_token=getattr(known, "access_token", "") or "simulated-access-token",
        verify_token=known.verify_token,
        callback_url=known.callback_url,
        waba_id=known.waba_id,
        phone_number_id=known.phone_number_id,
    )
