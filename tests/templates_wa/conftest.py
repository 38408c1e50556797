"""Both tenants connected to one platform, of an account each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from templates_wa import accounts
from tests.conftest import Cast
from tests.graphql.conftest import gql
from tests.templates_wa.account import Platform
from workspaces import secrets
from workspaces.models import SecretKind

__all__ = ["gql"]

PLATFORM = Platform()


def channel(**facts: Any) -> Any:
    """Be the class that ``SIGMA_CHANNELS`` names."""
    return PLATFORM.channel(**facts)


@pytest.fixture
def platform(acme: Cast, globex: Cast, settings: Any) -> Platform:
    """Return an empty platform that both tenants have a token for."""
    settings.SIGMA_CHANNELS = {"CLOUD_API": "tests.templates_wa.conftest.channel"}
    PLATFORM.__init__()  # type: ignore[misc]
    for cast in (acme, globex):
        secrets.add(tenant=cast.tenant, kind=SecretKind.ACCESS_TOKEN, value=f"{cast.tenant.slug}T")
    return PLATFORM


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Keep the wake-up from filling the broker; returns how often it was sent."""
    times: list[int] = []
    monkeypatch.setattr(
        type(accounts.WAKE_UP), "notify", lambda self: bool(times.append(1)) or True
    )
    return lambda: len(times)
