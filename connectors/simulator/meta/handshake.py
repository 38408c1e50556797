"""Ask a callback address whether it wants callbacks, as Meta does before it sends any.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started
"""

from __future__ import annotations

import secrets
from typing import Protocol

import httpx

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import SUCCESS, Answer
from connectors.simulator.wire import NotLoopback, target

TIMEOUT = 10.0
FAILED = "The URL couldn't be validated. Response does not match challenge"


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


async def override(subject: Overridable, url: str, verify_token: str) -> Answer:
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
