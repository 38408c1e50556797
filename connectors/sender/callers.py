"""Who calls the sender service: the holder of a key that is bound to a workspace, or nobody.

Asked for every request: a key that is revoked opens nothing from then on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from connectors.sender.refusals import Refused
from lib.requests import Headers
from lib.sql import select
from workspaces.access import NotAuthenticated, by_api_key
from workspaces.models import TenantStatus
from workspaces.provisioning import digest_api_key
from workspaces.scopes import Scope

BEARER = "bearer "
MAY_SEND = frozenset({Scope.MESSAGES_SEND})
MAY_LOOK = frozenset({Scope.MESSAGES_SEND, Scope.MESSAGES_READ})
CHALLENGE = (("www-authenticate", "Bearer"),)
WANTED = "Send an API key: Authorization: Bearer …, or X-API-Key."
UNBOUND = (
    "This API key is not bound to a workspace; issue one that is: manage.py issue_api_key … "
    "--workspace …, or in the admin."
)

FIND_OPEN = """
SELECT w.id, w.tenant_id FROM workspaces w JOIN tenants t ON t.id = w.tenant_id
WHERE w.id = %s AND w.is_active AND t.status = %s
"""


class _Open(NamedTuple):
    id: UUID
    tenant_id: UUID


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever calls, for one workspace; ``bucket`` is what his rate is counted under."""

    tenant_id: UUID
    workspace_id: UUID
    scopes: frozenset[str]
    bucket: str

    def require(self, scopes: Collection[Scope]) -> None:
        """Insist on one of some permissions.

        Raises:
            Refused: he has none of them.
        """
        if self.scopes.isdisjoint(scopes):
            names = " or ".join(sorted(scope.value for scope in scopes))
            raise Refused(403, "FORBIDDEN", f"This needs the permission {names}.")


def key_in(headers: Headers) -> str | None:
    """Return the API key that a request carries, right or wrong; ``None``: it carries none."""
    given = headers.get(b"authorization", b"").decode("latin-1").strip()
    if given[: len(BEARER)].lower() == BEARER:
        return given[len(BEARER) :].strip()
    return given or headers.get(b"x-api-key", b"").decode("latin-1").strip() or None


def with_key(key: str, *, now: datetime) -> Caller:
    """Return the caller with a key; blocks while the database answers.

    Raises:
        Refused: it is not a key in use, or not bound to a workspace.
    """
    try:
        actor = by_api_key(key, now=now)
    except NotAuthenticated as error:
        raise Refused(401, "UNAUTHENTICATED", str(error), headers=CHALLENGE) from None
    if actor.workspace_id is None:
        raise Refused(403, "FORBIDDEN", UNBOUND)
    bucket = digest_api_key(key).hex()[:32]
    return Caller(actor.tenant_id, actor.workspace_id, actor.scopes, bucket)


def without_key(workspace_id: UUID | None) -> Caller:
    """Return the caller without a key, who may send for this workspace and no more.

    Raises:
        Refused: no workspace is open, or this one is no longer active.
    """
    active = TenantStatus.ACTIVE.value
    found = select(_Open, FIND_OPEN, [workspace_id, active]) if workspace_id else []
    if not found:
        raise Refused(401, "UNAUTHENTICATED", WANTED, headers=CHALLENGE)
    ((workspace_id, tenant_id),) = found
    return Caller(tenant_id, workspace_id, frozenset({Scope.MESSAGES_SEND}), str(workspace_id))
