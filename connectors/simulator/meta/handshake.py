"""Verify a callback address before anything is sent to it, as Meta does, at start and on change.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Protocol

import httpx

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import SUCCESS, HttpAnswer
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import App, BusinessAccount, Subscription
from connectors.simulator.wire import NotLoopback, target

TIMEOUT = 10.0
FAILED = "The URL couldn't be validated. Response does not match challenge"
RETRY_SECONDS = 1.0
# A line about every attempt in the first seconds, later only now and then.
SAID_AGAIN_AFTER = 15


class Unverified(Exception):
    """The callback address did not answer the challenge."""


class Overridable(Protocol):
    """What callbacks can be redirected for: a number, an account's subscription."""

    callback_url: str
    verify_token: str


async def verify(url: str, verify_token: str) -> None:
    """Ask for the challenge back.

    Raises:
        Unverified: not loopback, no answer, or another one.
    """
    challenge = str(secrets.randbelow(10**10))
    query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
    try:
        target(url, b"")
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            response = await client.get(url, params=query)
    except NotLoopback as error:
        raise Unverified(str(error)) from error
    except httpx.HTTPError as error:
        raise Unverified(f"No answer ({type(error).__name__}).") from error
    if response.status_code != 200 or response.text != challenge:
        raise Unverified(f"It answered {response.status_code}, not with the challenge.")


async def override(subject: Overridable, url: str, verify_token: str) -> HttpAnswer:
    """Redirect callbacks after a handshake; an empty address ends that.

    Raises:
        GraphError: 100 with subcode 2200, the handshake failed.
    """
    if url:
        try:
            await verify(url, verify_token)
        except Unverified as error:
            raise GraphError(100, f"{FAILED}. {error}", subcode=2200) from error
    subject.callback_url, subject.verify_token = url, verify_token
    return SUCCESS


async def subscribe_all(sim: Simulator, say: Callable[[str], None]) -> None:
    """Ask every app's address that has a verify token, until it answers; then subscribe the app."""
    waiting = [app for app in sim.registry.world.apps if app.callback_url and app.verify_token]
    held = {app.id: _taken(sim, app) for app in waiting}
    await asyncio.gather(*(_subscribe(sim, app, held[app.id], say) for app in waiting))


def _taken(sim: Simulator, app: App) -> list[tuple[BusinessAccount, Subscription]]:
    """Take an app's subscriptions out of the accounts and return them."""
    taken = []
    for account in sim.registry.world.accounts:
        for subscription in tuple(account.subscriptions):
            if subscription.app_id == app.id:
                account.subscriptions.remove(subscription)
                taken.append((account, subscription))
    return taken


async def _subscribe(
    sim: Simulator,
    app: App,
    held: list[tuple[BusinessAccount, Subscription]],
    say: Callable[[str], None],
) -> None:
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
