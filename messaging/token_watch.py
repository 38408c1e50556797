"""Sending goes on by itself once the token that stopped it is replaced by one that works."""

from __future__ import annotations

from datetime import datetime

from messaging.delivery import pauses
from templates_wa import sync
from workspaces import token_checks

# Meta: the access token is expired or invalid.
BAD_TOKEN = 190
LIFTED_BY = "token check"


def watch(*, now: datetime) -> int:
    """Check the tokens whose turn it is, lift what a bad one had stopped; return how many were
    checked.
    """
    checked = 0
    for found in token_checks.check_due(now=now):
        checked += 1
        if found.is_valid and found.is_used:
            pauses.lift(tenant_id=found.tenant_id, code=BAD_TOKEN, by=LIFTED_BY, now=now)
            # Templates that could not be read with the old one wait up to an hour otherwise.
            sync.sync_tenant(found.tenant_id, now=now)
    return checked
