"""Sending goes on by itself once what stopped it, a token or an app secret that would not do, is
replaced by one that works, or put right at the platform.
"""

from __future__ import annotations

from datetime import datetime

from messaging.delivery import pauses
from templates_wa import sync
from workspaces import token_checks

LIFTED_BY = "token check"
# Meta's codes for what a token or an app secret is to blame for: not accepted, without a capability
# or permission, a proof that does not fit (100), missing, expired.
ABOUT_CREDENTIALS = frozenset({0, 3, 10, 100, 104, 190, *range(200, 300)})


def watch(*, now: datetime) -> int:
    """Check the tokens whose turn it is, lift what a bad one had stopped; return how many were
    checked.

    Should it be refused still, sending is paused again, and the next try follows the next check.
    """
    stopped = {pause.tenant_id for pause in pauses.of_whole_tenants(ABOUT_CREDENTIALS)}
    checked, working = 0, token_checks.entered_lately(now)
    for found in token_checks.check_due(now=now, doubted=stopped):
        checked += 1
        if found.is_valid and found.is_used:
            working.add(found.tenant_id)
    for tenant_id in working:
        # Templates that could not be read with the old one wait up to an hour otherwise.
        sync.sync_tenant(tenant_id, now=now)
    for pause in pauses.of_whole_tenants(ABOUT_CREDENTIALS):
        if token_checks.found_fine_since(pause.tenant_id, pause.since, now=now):
            pauses.lift_one(pause, by=LIFTED_BY, now=now)
    return checked
