"""A tenant who writes to people through the API, and the Meta that knows it."""

from __future__ import annotations

from benchmarks.outgoing.queued import Order
from connectors.simulator.meta import seeds
from connectors.simulator.meta.world import World

# Nothing is pending at the beginning.
WRITER = Order(
    slug="writer",
    phone_number_id="106540352290001",
    waba_id="102290129390001",
    access_token="EAAG-writer",  # noqa: S106
    app_secret="writer-app-secret-0123",  # noqa: S106
    count=0,
    throughput="HIGH",
    wakes=False,
    with_key=True,
)
# The people are counted from here: +999 is assigned to no country.
FIRST = 999_550_000_000


def world(base_url: str) -> World:
    """Return a Meta that knows the tenant, and calls its address under ``base_url``."""
    made = seeds.business(
        app_secret=WRITER.app_secret,
        access_token=WRITER.access_token,
        waba_id=WRITER.waba_id,
        phone_number_id=WRITER.phone_number_id,
        callback_url=f"{base_url}/webhooks/whatsapp/{WRITER.slug}",
    )
    made.accounts[0].numbers[0].throughput = WRITER.throughput
    made.options.answer_delay_ms, made.options.obeys_magic_numbers = 100, False
    return made
