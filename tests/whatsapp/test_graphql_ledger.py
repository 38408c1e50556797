"""The ledger in GraphQL."""

from __future__ import annotations

import pytest

from connectors.whatsapp.processing import process_batch
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces.access import Scope

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

LEDGER = """
{ ledger { accepted processed quarantined dead pending duplicates unhandled balanced exact
           unhandledKinds { field kind count } } }
"""


def test_it_accounts_for_everything_that_was_accepted(gql: Gql, acme: Cast) -> None:
    number = acme.workspace.external_id
    deliver(acme.tenant.id, callback(number, messages=[text("wamid.A"), text("wamid.A")]))
    deliver(acme.tenant.id, callback(number, field="calls", calls=[{"id": "wacid.A"}]))
    process_batch(10)
    deliver(acme.tenant.id, callback(number, messages=[text("wamid.B")]))

    ledger = gql(acme, LEDGER).data["ledger"]

    assert (ledger["accepted"], ledger["processed"], ledger["pending"]) == (4, 3, 1)
    assert (ledger["duplicates"], ledger["unhandled"], ledger["balanced"]) == (1, 1, True)
    assert [kind["field"] for kind in ledger["unhandledKinds"]] == ["calls"]


def test_it_counts_nothing_of_another_tenant(gql: Gql, acme: Cast, globex: Cast) -> None:
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[text("wamid.A")]))

    assert gql(globex, LEDGER).data["ledger"]["accepted"] == 0


def test_it_needs_permission(gql: Gql, acme: Cast) -> None:
    answer = gql(key_with(acme.tenant, Scope.MESSAGES_READ), LEDGER)

    assert answer.codes == ["FORBIDDEN"]
