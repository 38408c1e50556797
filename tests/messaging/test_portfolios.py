"""Who was written to first is forgotten when he counts no more."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from lib.ids import uuid7
from messaging import portfolios
from messaging.models import PortfolioRecipient
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def test_it_forgets_who_counts_no_more(
    acme: Cast, globex: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portfolios, "BATCH", 2)
    PortfolioRecipient.objects.bulk_create(
        PortfolioRecipient(
            tenant_id=cast.tenant.id,
            portfolio_id="1",
            contact_id=uuid7(),
            opened_at=now - timedelta(hours=hours),
        )
        for cast in (acme, globex)
        for hours in (1, 23, 24, 25, 240)
    )

    assert portfolios.forget(now=now) == 6
    assert portfolios.forget(now=now) == 0
    assert PortfolioRecipient.objects.count() == 4
