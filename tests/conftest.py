"""The cast: two tenants who must never see one another, and the doors to the product."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace

import hypothesis
import pytest
from django.conf import settings
from django.core.management.commands import flush
from django.db.backends.postgresql.operations import DatabaseOperations

from connectors.events import queue as events
from connectors.whatsapp import processing
from connectors.whatsapp.processing import WAKE_UP
from lib import clock
from lib.wakeups import WakeUp
from messaging import fetching
from messaging.delivery import queues as delivery
from tests import emptying
from tests.messaging.meta import Meta, meta_on_loopback
from workspaces import access, keys, provisioning, secrets
from workspaces.access import Scope
from workspaces.models import Proof, SecretKind, Tenant, Workspace

# Seconds after which something that does not happen is taken for something that never will.
PATIENCE = 120.0
PROOF = ("number_proof", "account_proof", "number_proven_at", "account_proven_at")
# Begun last, they would still run when all other workers of pytest-xdist have nothing left to do.
LONGEST = ("tests/chaos/", "tests/sigma/test_start.py", "tests/privacy/")
# A slow machine is no finding of a property test either.
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests; the order of all others stays."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@dataclass(frozen=True)
class Cast:
    """A tenant with one phone number, proven to be theirs, its secrets in plaintext, and an API key
    that may do everything.
    """

    tenant: Tenant
    workspace: Workspace
    app_secret: str = field(repr=False)
    verify_token: str = field(repr=False)
    api_key: str = field(repr=False)

    @property
    def path(self) -> str:
        """The tenant's callback path."""
        return f"/webhooks/whatsapp/{self.tenant.slug}"


def _cast(slug: str, number: str) -> Cast:
    tenant = provisioning.create_tenant(slug=slug, name=slug.title())
    app_secret, verify_token = f"{slug}-app-secret-0123456789", f"{slug}-verify-token-0123456789"
    secrets.add(tenant=tenant, kind=SecretKind.APP_SECRET, value=app_secret)
    secrets.add(tenant=tenant, kind=SecretKind.VERIFY_TOKEN, value=verify_token)
    workspace = provisioning.create_workspace(
        tenant_id=tenant.id, name=f"{slug} support", external_id=number, waba_id="9" + number[1:]
    )
    # As ownership.prove_number and prove_account leave it, in one statement instead of five.
    workspace.number_proof = workspace.account_proof = Proof.TOKEN
    workspace.number_proven_at = workspace.account_proven_at = datetime.now(UTC)
    workspace.save(update_fields=PROOF)
    _, api_key = access.issue_api_key(tenant=tenant, name="test", scopes=list(Scope))
    return Cast(tenant, workspace, app_secret, verify_token, api_key)


@pytest.fixture
def acme(db: None) -> Cast:
    """The tenant most tests are about."""
    return _cast("acme", "100000000000001")


@pytest.fixture
def globex(db: None) -> Cast:
    """The other tenant: what is acme's must not exist for it."""
    return _cast("globex", "200000000000002")


@pytest.fixture(autouse=True)
def _forget_keys() -> None:
    """No test finds keys of another's tenants in memory, nor its drain in the broker."""
    keys.forget()
    clock.forget()
    for brake in (
        processing.BRAKE,
        delivery.SENDS_BRAKE,
        delivery.BROADCASTS_BRAKE,
        events.BRAKE,
        fetching.BRAKE,
    ):
        brake.forget()


@pytest.fixture(autouse=True, scope="session")
def _empty_quickly() -> Iterator[None]:
    """Tests that commit leave their tables empty, in a hundredth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", emptying.sql_flush)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_, **__: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _stop_servers_at_once() -> Iterator[None]:
    """uvicorn looks a hundred times a second whether it has to end, not ten times."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": sleep}))
        yield


@pytest.fixture(autouse=True, scope="session")
def _ask_anew() -> Iterator[None]:
    """What a test just changed is seen by ``/healthz`` at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sigma.threads.HEALTH_SECONDS", 0.0)
        yield


@pytest.fixture(autouse=True, scope="session")
def _look_for_files_when_asked() -> Iterator[None]:
    """Each test client makes the middleware anew, which would list every static file each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "WHITENOISE_AUTOREFRESH", True, raising=False)
        yield


@pytest.fixture
def now() -> datetime:
    """One moment for the whole test."""
    return datetime.now(UTC)


@pytest.fixture
def no_wake_ups(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Keep tests that run no worker from filling the broker; returns how often it was called."""
    called: list[int] = []
    notify = WakeUp.notify

    def note(wake_up: WakeUp, slot: int = 0) -> bool:
        if wake_up != WAKE_UP:
            return notify(wake_up, slot)
        called.append(slot)
        return True

    monkeypatch.setattr(WakeUp, "notify", note)
    return lambda: len(called)


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Poll a condition until it holds; the limit is patience, not expectation: no test depends on
    the speed of the machine.
    """

    def wait(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + max(seconds, PATIENCE)
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    return wait


@pytest.fixture
def meta(settings) -> Iterator[Meta]:  # type: ignore[no-untyped-def]
    """Meta on loopback, which the product takes for the real one."""
    with meta_on_loopback() as server:
        settings.SIGMA_GRAPH_URL = server.graph_url
        yield server
