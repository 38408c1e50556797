"""Whose update is it? Acme's; globex claims its number as well, and gets nothing of acme's by it.

Where tenants share one app, each update is filed under its tenant, or parked.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from connectors.whatsapp import ledger, raw, replay
from connectors.whatsapp.models import DeadKind, WebhookDead, WebhookDelivery, WebhookPending
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.raw import read_originals
from messaging import number_sync
from messaging.models import Message
from templates_wa.models import TemplateEventRow
from tests.conftest import Cast
from tests.messaging.meta import Meta, Reply
from tests.people import page_of, superuser
from tests.whatsapp.deliveries import callback, contact, deliver, text
from workspaces import ownership, secrets, token_checks
from workspaces.models import INSTALLATION_ID, Proof, SecretKind, Tenant, Workspace

pytestmark = pytest.mark.django_db

NUMBER, ACCOUNT = "555000000000005", "955000000000005"
SHARED = INSTALLATION_ID

CREATE = """
mutation Create($tenant: ID!, $waba: String) { createWorkspace(input: {
  tenantId: $tenant, name: "Support", platform: WHATS_APP,
  externalId: "555000000000005", wabaId: $waba
}) { success errors { code } } }
"""


def by_graphql(cast: Cast) -> None:
    """Claim the number and the account as a tenant does."""
    answer = (
        Client()
        .post(
            "/graphql",
            {"query": CREATE, "variables": {"tenant": str(cast.tenant.id), "waba": ACCOUNT}},
            "application/json",
            headers={"Authorization": f"Bearer {cast.api_key}"},
        )
        .json()
    )
    assert answer["data"]["createWorkspace"] == {"success": True, "errors": []}


def by_sql(cast: Cast) -> None:
    """Claim them as an operator does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO workspaces (id, tenant_id, name, platform, external_id, waba_id, "
            "is_active, created_at, updated_at) "
            "VALUES (gen_random_uuid(), %s, 'Support', 5, %s, %s, true, now(), now())",
            [cast.tenant.id, NUMBER, ACCOUNT],
        )


def by_admin(cast: Cast) -> None:
    """Claim them by changing the workspace they have."""
    form = {"name": "Support", "external_id": NUMBER, "waba_id": ACCOUNT, "is_active": "on"}
    page = superuser().post(page_of("workspaces_workspace", cast.workspace.pk), form)
    assert page.status_code == 302


Claim = Callable[[Cast], None]


@pytest.fixture(params=[by_graphql, by_sql, by_admin])
def claim(request: pytest.FixtureRequest) -> Claim:
    """How globex claims them."""
    return request.param


@pytest.fixture(params=["before", "after"])
def both_claim(request: pytest.FixtureRequest, acme: Cast, globex: Cast, claim: Claim) -> None:
    """Globex claims what is acme's, before acme does or after."""
    if request.param == "before":
        claim(globex)
    by_graphql(acme)
    if request.param == "after":
        claim(globex)


def message(wamid: str) -> dict:  # type: ignore[type-arg]
    return callback(NUMBER, ACCOUNT, messages=[text(wamid)], contacts=[contact()])


def template() -> dict:  # type: ignore[type-arg]
    value = {
        "event": "APPROVED",
        "message_template_id": 7,
        "message_template_name": "welcome_message",
        "message_template_language": "en",
    }
    change = {"field": "message_template_status_update", "value": value}
    entry = {"id": ACCOUNT, "time": 1_790_000_000, "changes": [change]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def receive(tenant_id: UUID, *documents: dict) -> None:  # type: ignore[type-arg]
    """Receive callbacks, and process all that is due."""
    for document in documents:
        deliver(tenant_id, document)
    while process_batch(100):
        pass


def receivers() -> list[str]:
    """Return who got the messages, in order."""
    tenants = dict(Tenant.objects.values_list("id", "slug"))
    rows = Message.objects.order_by("timestamp_utc", "id").values_list("tenant_id", flat=True)
    return [tenants[tenant_id] for tenant_id in rows]


def let_the_token_read(cast: Cast, meta: Meta, *, now: datetime) -> None:
    """Give a tenant an access token that Meta answers with the number and its account."""
    secrets.add(tenant=cast.tenant, kind=SecretKind.ACCESS_TOKEN, value=f"EAAG-{cast.tenant.slug}")
    parties = [
        {"entity_type": "PHONE_NUMBER", "id": NUMBER},
        {"entity_type": "WABA", "id": ACCOUNT},
    ]
    node = {"status": "CONNECTED", "health_status": {"entities": parties}}
    meta.replies[f"/v26.0/{NUMBER}"] = Reply(node)
    number_sync.sync(Workspace.objects.get(tenant=cast.tenant, external_id=NUMBER), now=now)


def test_it_brings_the_victims_own_callbacks_to_the_victim(
    acme: Cast, globex: Cast, both_claim: None
) -> None:
    receive(acme.tenant.id, message("wamid.1"))
    receive(acme.tenant.id, template())

    assert receivers() == ["acme"]
    assert TemplateEventRow.objects.get().tenant_id == acme.tenant.id
    assert not WebhookDead.objects.exists()


def test_it_brings_shared_callbacks_to_whom_a_callback_of_their_own_named(
    acme: Cast, globex: Cast, both_claim: None
) -> None:
    receive(acme.tenant.id, message("wamid.1"))

    receive(SHARED, message("wamid.2"), template())

    assert receivers() == ["acme", "acme"]
    assert TemplateEventRow.objects.get().tenant_id == acme.tenant.id
    assert not WebhookDead.objects.exists()


def test_it_keeps_shared_callbacks_until_somebodys_token_reads_the_number(
    acme: Cast, globex: Cast, claim: Claim, meta: Meta, now: datetime
) -> None:
    claim(globex)
    receive(SHARED, message("wamid.1"))
    assert receivers() == []
    assert "Nobody who claims this" in WebhookDead.objects.get().reason
    assert replay.releasable() == []

    by_graphql(acme)
    let_the_token_read(acme, meta, now=now)
    replay.replay(replay.releasable())
    receive(acme.tenant.id)

    assert receivers() == ["acme"]


def test_it_believes_a_token_more_than_a_callback_that_anybody_may_sign(
    acme: Cast, globex: Cast, meta: Meta, now: datetime
) -> None:
    """Globex makes up an app secret, and signs what it likes with it."""
    by_graphql(globex)
    receive(globex.tenant.id, message("wamid.forged"))
    by_graphql(acme)
    let_the_token_read(acme, meta, now=now)

    receive(SHARED, message("wamid.1"), template())

    assert receivers() == ["globex", "acme"]
    assert TemplateEventRow.objects.get().tenant_id == acme.tenant.id


def test_it_lets_no_callback_take_from_whom_one_named_before(acme: Cast, globex: Cast) -> None:
    """Globex signs what it likes with its own secret, again and again, but was not the first."""
    by_graphql(acme)
    receive(acme.tenant.id, message("wamid.1"))
    by_graphql(globex)
    receive(globex.tenant.id, message("wamid.forged"))
    receive(globex.tenant.id, message("wamid.forged-too"))

    receive(SHARED, message("wamid.2"), template())

    assert sorted(receivers()) == ["acme", "acme", "globex", "globex"]
    assert TemplateEventRow.objects.get().tenant_id == acme.tenant.id
    assert not WebhookDead.objects.exists()


def test_it_lets_nobody_be_first_with_an_id_that_they_typed_later(acme: Cast, globex: Cast) -> None:
    """Globex proved something of its own long ago, and then types acme's account over it."""
    with connection.cursor() as cursor:  # globex's own number, named by a callback of its own
        cursor.execute(
            "UPDATE workspaces SET number_proof = 0, account_proof = 0, waba_id = '' WHERE id = %s",
            [globex.workspace.pk],
        )
    own = globex.workspace.external_id
    receive(globex.tenant.id, callback(own, messages=[text("wamid.own")], contacts=[contact()]))
    by_graphql(acme)
    receive(acme.tenant.id, message("wamid.1"))
    Workspace.objects.filter(pk=globex.workspace.pk).update(waba_id="")
    named = callback(own, ACCOUNT, messages=[text("wamid.forged")], contacts=[contact()])
    receive(globex.tenant.id, named)

    receive(SHARED, template())

    assert TemplateEventRow.objects.get().tenant_id == acme.tenant.id


def test_it_refuses_a_number_once_somebodys_token_reads_it(
    acme: Cast, globex: Cast, meta: Meta, now: datetime
) -> None:
    by_graphql(acme)
    let_the_token_read(acme, meta, now=now)

    with pytest.raises(AssertionError, match="DUPLICATE"):
        by_graphql(globex)


def test_it_corrects_an_account_that_was_typed_wrongly(
    acme: Cast, globex: Cast, meta: Meta, now: datetime
) -> None:
    by_sql(acme)
    Workspace.objects.filter(external_id=NUMBER).update(waba_id="111111111111111")

    receive(acme.tenant.id, message("wamid.1"))

    workspace = Workspace.objects.get(external_id=NUMBER)
    assert (workspace.waba_id, workspace.account_proof) == (ACCOUNT, Proof.CALLBACK)


@pytest.mark.parametrize("column", ["external_id", "waba_id"])
def test_it_takes_an_id_for_typed_again_when_somebody_changes_it(
    acme: Cast, globex: Cast, column: str
) -> None:
    """Globex has a number of its own that is proven, and then types acme's over it."""
    mine = getattr(acme.workspace, column)
    with connection.cursor() as cursor:
        statement = f"UPDATE workspaces SET {column} = %s WHERE id = %s"  # noqa: S608
        cursor.execute(statement, [mine, globex.workspace.pk])

    workspace = Workspace.objects.get(pk=globex.workspace.pk)
    assert workspace.account_proof == Proof.TYPED
    assert workspace.number_proof == (Proof.TYPED if column == "external_id" else Proof.TOKEN)


def test_it_asks_a_tenant_who_is_alone_for_no_proof(acme: Cast) -> None:
    by_sql(acme)

    receive(SHARED, message("wamid.1"))

    assert receivers() == ["acme"]


def test_it_follows_a_number_that_moved_to_another_tenant(
    acme: Cast, globex: Cast, meta: Meta, now: datetime
) -> None:
    by_sql(globex)
    let_the_token_read(globex, meta, now=now - timedelta(days=2))
    by_sql(acme)
    let_the_token_read(acme, meta, now=now)

    receive(SHARED, message("wamid.1"))

    assert receivers() == ["acme"]


def test_it_follows_a_number_whose_old_account_stayed_with_another_tenant(
    acme: Cast, globex: Cast, meta: Meta, now: datetime
) -> None:
    """Globex's token is still granted the account that the number was in."""
    by_sql(globex)
    let_the_token_read(globex, meta, now=now - timedelta(days=2))
    ownership.prove_accounts(globex.tenant.id, [ACCOUNT], now=now - timedelta(hours=1))
    by_sql(acme)
    let_the_token_read(acme, meta, now=now)

    receive(SHARED, message("wamid.1"))

    assert receivers() == ["acme"]


def test_it_takes_an_account_that_a_token_was_granted_for_proven(
    acme: Cast, globex: Cast, meta: Meta, now: datetime
) -> None:
    by_graphql(globex)
    by_graphql(acme)
    token = secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="EAAG-acme")
    granted = [{"scope": "whatsapp_business_management", "target_ids": [ACCOUNT]}]
    data = {"is_valid": True, "scopes": [], "granular_scopes": granted}
    meta.replies["/v26.0/debug_token"] = Reply({"data": data})
    token_checks.check(token, now=now)

    receive(SHARED, template())

    assert TemplateEventRow.objects.get().tenant_id == acme.tenant.id


INSTALLATION = INSTALLATION_ID


def envelope(*callbacks: dict) -> dict:
    """Put several callbacks into one POST, as the envelope allows."""
    return {**callbacks[0], "entry": [entry for one in callbacks for entry in one["entry"]]}


def message_for(cast: Cast, wamid: str, body: str) -> dict:
    number = cast.workspace.external_id
    return callback(number, messages=[text(wamid, body)], contacts=[contact(name=body)])


def work() -> None:
    while process_batch(100):
        pass


def balance(tenant_id: UUID) -> tuple[int, int, int]:
    entry = ledger.read(tenant_id, verify=True)
    assert entry.balanced
    return entry.processed, entry.quarantined, entry.dead


def test_it_files_each_update_under_its_tenant(acme: Cast, globex: Cast) -> None:
    mixed = envelope(
        message_for(acme, "wamid.A", "For acme"), message_for(globex, "wamid.G", "Not")
    )
    original = deliver(INSTALLATION, mixed)

    work()

    for cast, words in ((acme, "For acme"), (globex, "Not")):
        message = Message.objects.get(tenant_id=cast.tenant.id)
        assert (message.text, message.workspace_id) == (words, cast.workspace.id)
        found = read_originals(cast.tenant.id, [message.id])[message.id]
        assert found.body["text"] == {"body": words}
        assert balance(cast.tenant.id) == (1, 0, 0)
    assert not WebhookDelivery.objects.filter(id=original).exists()
    assert balance(INSTALLATION)[1:] == (0, 0)


def test_it_keeps_the_words_of_one_tenant_out_of_the_raw_of_another(
    acme: Cast, globex: Cast
) -> None:
    mixed = envelope(
        message_for(acme, "wamid.A", "For acme"), message_for(globex, "wamid.G", "Not")
    )
    deliver(INSTALLATION, mixed)

    work()

    kept = WebhookDelivery.objects.get(tenant_id=globex.tenant.id)
    body = raw.open_body(bytes(kept.body), tenant_id=globex.tenant.id, delivery_id=kept.id)
    assert b"Not" in body
    assert b"acme" not in body


def test_it_parks_what_belongs_to_nobody(acme: Cast, globex: Cast) -> None:
    nobodys = callback("300000000000003", messages=[text("wamid.N")])
    deliver(INSTALLATION, envelope(nobodys, message_for(acme, "wamid.A", "For acme")))

    work()

    row = WebhookDead.objects.get()
    assert (row.kind, row.tenant_id) == (DeadKind.QUARANTINE, INSTALLATION)
    assert row.phone_number_id == "300000000000003"
    assert balance(INSTALLATION)[1:] == (1, 0)
    assert Message.objects.get().tenant_id == acme.tenant.id


def test_it_gives_a_number_that_the_tokens_of_several_read_to_none_of_them(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    number = acme.workspace.external_id
    mine = Workspace.objects.create(tenant=globex.tenant, name="Mine!", external_id=number)
    ownership.prove_number(mine, Proof.TOKEN, now=now)
    deliver(INSTALLATION, message_for(acme, "wamid.A", "Whose?"))

    work()

    assert "Several tenants" in WebhookDead.objects.get().reason
    assert not Message.objects.exists()


def test_it_finds_the_tenant_of_account_news_by_its_waba(acme: Cast, globex: Cast) -> None:
    value = {
        "event": "APPROVED",
        "message_template_id": 7,
        "message_template_name": "welcome_message",
        "message_template_language": "en",
    }
    change = {"field": "message_template_status_update", "value": value}
    entry = {"id": globex.workspace.waba_id, "time": 1_790_000_000, "changes": [change]}
    deliver(INSTALLATION, {"object": "whatsapp_business_account", "entry": [entry]})

    work()

    assert TemplateEventRow.objects.get().tenant_id == globex.tenant.id


def test_it_parks_a_shared_callback_that_is_no_callback(acme: Cast) -> None:
    deliver(INSTALLATION, b"not json")

    work()

    assert WebhookDead.objects.get().kind == DeadKind.DEAD
    assert balance(INSTALLATION) == (0, 0, 1)
    assert not WebhookPending.objects.exists()


def test_it_balances_on_the_command_line_too(acme: Cast, globex: Cast) -> None:
    mixed = envelope(message_for(acme, "wamid.A", "A"), callback("300000000000003"))
    deliver(INSTALLATION, mixed)

    work()

    call_command("ledger", "--verify", stdout=StringIO())  # exits 1 where it does not


def test_it_numbers_a_batch_out_of_one_block(acme: Cast, globex: Cast) -> None:
    for number in range(3):
        deliver(INSTALLATION, message_for(acme, f"wamid.{number}", "For acme"))
        deliver(INSTALLATION, message_for(globex, f"wamid.{number}", "For globex"))

    process_batch(10)

    ids = sorted(WebhookDelivery.objects.values_list("id", flat=True))
    assert ids == list(range(ids[0], ids[0] + 6))
    sizes = WebhookPending.objects.values_list("size", flat=True)
    assert all(sizes)


def test_it_hands_on_keys_that_nobody_knows_yet(acme: Cast, globex: Cast) -> None:
    mine = message_for(acme, "wamid.A", "For acme")
    mine["entry"][0]["changes"][0]["value"]["new_in_2030"] = "acme only"
    deliver(INSTALLATION, envelope(mine, message_for(globex, "wamid.G", "For globex")))

    work()

    for cast, known in ((acme, True), (globex, False)):
        kept = WebhookDelivery.objects.get(tenant_id=cast.tenant.id)
        body = raw.open_body(bytes(kept.body), tenant_id=kept.tenant_id, delivery_id=kept.id)
        assert (b"new_in_2030" in body) is known
