"""Subscribe the apps to the accounts at the start, as a developer does in Meta's panel.

Nothing is sent to an address before it answered the challenge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from connectors.simulator.meta.handshake import Unverified, verify
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import Account, App, Subscription

RETRY_SECONDS = 1.0
# A line about every attempt in the first seconds, later only now and then.
SAID_AGAIN_AFTER = 15


async def subscribe_all(sim: Simulator, say: Callable[[str], None]) -> None:
    """Ask every app's address that has a verify token, until it answers; then subscribe the app."""
    waiting = [app for app in sim.registry.world.apps if app.callback_url and app.verify_token]
    held = {app.id: _taken(sim, app) for app in waiting}
    await asyncio.gather(*(_subscribe(sim, app, held[app.id], say) for app in waiting))


def _taken(sim: Simulator, app: App) -> list[tuple[Account, Subscription]]:
    """Take an app's subscriptions out of the accounts and return them."""
    taken = []
    for account in sim.registry.world.accounts:
        for subscription in tuple(account.subscriptions):
            if subscription.app_id == app.id:
                account.subscriptions.remove(subscription)
                taken.append((account, subscription))
    return taken


async def _subscribe(
    sim: Simulator, app: App, held: list[tuple[Account, Subscription]], say: Callable[[str], None]
) -> None:  # fmt: skip
    say(f"App {app.id}: asking {app.callback_url} for the challenge.")
    attempts = 0
    while True:
        try:
            await verify(app.callback_url, app.verify_token)
            break
        except Unverified as error:
            if attempts % SAID_AGAIN_AFTER == 0:
                say(f"App {app.id}: not verified yet. {error} Trying again.")
            attempts += 1
            await asyncio.sleep(RETRY_SECONDS)
    for account, subscription in held:
        account.subscriptions.append(subscription)
        say(f"App {app.id}: verified and subscribed to the account {account.id}.")
    sim.keep()
