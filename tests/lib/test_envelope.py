"""Sealed values open in their own place only, and only while their key exists."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from connectors.whatsapp import raw, results
from connectors.whatsapp.models import WebhookDead, WebhookDelivery
from connectors.whatsapp.processing import process_batch
from lib.envelope import OVERHEAD, CannotOpen, Cipher, KeyDestroyed, associated_data
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces import keys, secrets
from workspaces.identity import digester
from workspaces.keys import TenantHasNoKeys, UnknownMasterKey
from workspaces.models import RawKey, SecretKind, TenantKey, TenantSecret

HERE = associated_data("acme", "table.column", 1)


@pytest.fixture
def cipher() -> Cipher:
    return Cipher(7, os.urandom(32))


def test_it_opens_what_it_sealed(cipher: Cipher) -> None:
    sealed = cipher.seal(b"words", HERE)
    assert cipher.open(sealed, HERE) == b"words"
    assert len(sealed) == len(b"words") + OVERHEAD


def test_it_never_seals_twice_alike(cipher: Cipher) -> None:
    assert cipher.seal(b"words", HERE) != cipher.seal(b"words", HERE)


@pytest.mark.parametrize(
    "place",
    [("globex", "table.column", 1), ("acme", "other.column", 1), ("acme", "table.column", 2)],
)
def test_it_does_not_open_elsewhere(cipher: Cipher, place: tuple[str, str, int]) -> None:
    with pytest.raises(CannotOpen):
        cipher.open(cipher.seal(b"words", HERE), associated_data(*place))


@pytest.mark.parametrize("position", range(OVERHEAD + 5))
def test_it_does_not_open_when_a_single_bit_was_changed(cipher: Cipher, position: int) -> None:
    sealed = bytearray(cipher.seal(b"words", HERE))
    sealed[position] ^= 1
    with pytest.raises(CannotOpen):
        cipher.open(bytes(sealed), HERE)


@pytest.mark.parametrize("junk", [b"", b"\x01", b"\x01" * (OVERHEAD - 1), b"\x02" * 60])
def test_it_knows_what_is_no_sealed_value(cipher: Cipher, junk: bytes) -> None:
    with pytest.raises(CannotOpen):
        cipher.open(junk, HERE)


def received(cast: Cast, wamid: str) -> Message:
    deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[text(wamid)]))
    process_batch(10)
    return Message.objects.get(platform_message_id=digester(cast.tenant.id).wamid(wamid))


@pytest.mark.django_db
class TestAtRest:
    def test_it_does_not_open_raw_moved_to_another_row(self, acme: Cast, globex: Cast) -> None:
        first, second = (received(cast, "wamid.A") for cast in (acme, globex))
        bodies = {row.tenant_id: row for row in WebhookDelivery.objects.all()}
        ours, theirs = bodies[acme.tenant.id], bodies[globex.tenant.id]
        for tenant_id, delivery_id in ((theirs.tenant_id, ours.id), (ours.tenant_id, theirs.id)):
            with pytest.raises(CannotOpen):
                raw.open_body(bytes(ours.body), tenant_id=tenant_id, delivery_id=delivery_id)
        second.sealed_id = first.sealed_id
        assert raw.read_wamid(first) == "wamid.A"
        assert raw.read_wamid(second) is None

    def test_it_does_not_open_a_secret_of_another_tenant_or_kind(
        self, acme: Cast, globex: Cast
    ) -> None:
        ours = TenantSecret.objects.get(tenant=acme.tenant, kind=SecretKind.APP_SECRET)
        assert secrets.reveal(ours) == acme.app_secret
        for change in ({"tenant": globex.tenant}, {"kind": SecretKind.ACCESS_TOKEN}):
            moved = TenantSecret(**{"tenant": ours.tenant, "kind": ours.kind, **change})
            moved.sealed = ours.sealed
            with pytest.raises(CannotOpen):
                secrets.reveal(moved)

    def test_it_does_not_open_a_dead_update_that_was_moved(self, acme: Cast, globex: Cast) -> None:
        for cast in (acme, globex):
            deliver(cast.tenant.id, b"not json")
        process_batch(10)
        ours, theirs = WebhookDead.objects.order_by("id")
        ours.tenant_id, theirs.tenant_id = theirs.tenant_id, ours.tenant_id
        for row in (ours, theirs):
            with pytest.raises(CannotOpen):
                results.callback_of(row)

    def test_it_does_not_unwrap_a_key_that_was_given_to_another(
        self, acme: Cast, globex: Cast
    ) -> None:
        stolen = TenantKey.objects.get(tenant=acme.tenant, purpose="SALT").wrapped
        TenantKey.objects.filter(tenant=globex.tenant, purpose="SALT").update(wrapped=stolen)
        keys.forget()
        with pytest.raises(UnknownMasterKey):
            keys.salt(globex.tenant.id)

    def test_it_keeps_no_key_in_the_clear(self, acme: Cast) -> None:
        today = datetime.now(UTC).date()
        keys.day_cipher(acme.tenant.id, today)
        clear = keys.salt(acme.tenant.id)
        wrapped = [bytes(row.wrapped) for row in (*TenantKey.objects.all(), *RawKey.objects.all())]
        assert len(wrapped) == 3
        assert not any(clear in row for row in wrapped)

    def test_it_says_that_the_key_of_a_day_was_destroyed(self, acme: Cast) -> None:
        message = received(acme, "wamid.A")
        keys.destroy_all(acme.tenant.id)
        with pytest.raises(KeyDestroyed):
            keys.cipher_of(bytes(message.sealed_id or b""))
        with pytest.raises(TenantHasNoKeys):
            digester(acme.tenant.id)

    def test_it_digests_one_phone_differently_for_every_tenant(
        self, acme: Cast, globex: Cast
    ) -> None:
        ours, theirs = digester(acme.tenant.id), digester(globex.tenant.id)
        assert ours.phone("15550123456") == digester(acme.tenant.id).phone("15550123456")
        assert ours.phone("15550123456") != theirs.phone("15550123456")
        assert len({ours.phone("1"), ours.user("1"), ours.parent("1"), ours.wamid("1")}) == 4
