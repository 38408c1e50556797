"""Stores: for our user alone, one folder per tenant and session, never through a link."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connectors.linked_device import stores
from connectors.linked_device.models import SenderSession, StoreRemoval
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def root(settings, tmp_path: Path) -> Path:
    """The folder of all stores, which is not there yet."""
    settings.SIGMA_SENDER_STORE = tmp_path / "sender"
    return tmp_path / "sender"


@pytest.fixture
def session(acme: Cast) -> SenderSession:
    return SenderSession.objects.create(tenant_id=acme.tenant.id, workspace=acme.workspace)


@pytest.fixture
def other(globex: Cast) -> SenderSession:
    return SenderSession.objects.create(tenant_id=globex.tenant.id, workspace=globex.workspace)


def made(session: SenderSession, *, mode: int = 0o600) -> Path:
    """Make a store as a device would."""
    path = stores.prepare(session)
    for name in (path, path.with_name(path.name + "-wal")):
        name.write_bytes(b"x" * 10)
        name.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_it_makes_folders_for_our_user_alone(session: SenderSession, root: Path) -> None:
    before = os.umask(0)
    try:
        path = stores.prepare(session)
    finally:
        os.umask(before)

    assert path == root / str(session.tenant_id) / str(session.id) / "whatsapp.db"
    assert [mode_of(folder) for folder in path.parents[:3]] == [0o700] * 3
    assert not path.exists()


def test_it_takes_a_folder_back_that_was_opened_to_others(session: SenderSession) -> None:
    made(session)
    stores.folder_of(session).parent.chmod(0o755)

    stores.prepare(session)

    assert mode_of(stores.folder_of(session).parent) == 0o700


@pytest.mark.parametrize("name", stores.PARTS)
def test_it_refuses_a_store_that_others_may_read(session: SenderSession, name: str) -> None:
    path = made(session).with_name(name)
    path.touch()
    path.chmod(0o640)

    with pytest.raises(stores.StoreUnsafe, match="other users"):
        stores.prepare(session)


@pytest.mark.parametrize("name", stores.PARTS)
def test_it_refuses_a_store_that_is_a_link(
    session: SenderSession, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "elsewhere"
    target.touch(0o600)
    (stores.prepare(session).parent / name).symlink_to(target)

    with pytest.raises(stores.StoreUnsafe, match="link"):
        stores.prepare(session)


def test_it_refuses_a_store_that_is_a_folder(session: SenderSession) -> None:
    stores.prepare(session).mkdir()

    with pytest.raises(stores.StoreUnsafe):
        stores.prepare(session)


@pytest.mark.parametrize("depth", [0, 1])
def test_it_refuses_folders_that_lead_elsewhere(
    session: SenderSession, tmp_path: Path, depth: int
) -> None:
    folder = [stores.folder_of(session), stores.tenant_folder(session.tenant_id)][depth]
    target = tmp_path / "elsewhere"
    (target / str(session.id)).mkdir(parents=True, mode=0o700)
    (target / str(session.id) / "whatsapp.db").touch(0o600)
    (target / "whatsapp.db").touch(0o600)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(target)

    for refused in (stores.prepare, stores.remove, stores.size):
        with pytest.raises(stores.StoreUnsafe, match="link"):
            refused(session)
    assert (target / "whatsapp.db").exists()


def test_it_tells_size_and_age(session: SenderSession, now: datetime) -> None:
    assert stores.size(session) == 0
    assert stores.age(session, now) == stores.Age(None, None)
    made(session)
    session.paired_at = now - timedelta(days=3)

    found = stores.age(session, now + timedelta(hours=1))

    assert stores.size(session) == 20
    assert found.paired == timedelta(days=3, hours=1)
    assert found.written is not None
    assert timedelta(minutes=59) < found.written < timedelta(minutes=61)


def test_it_removes_a_store_whole_and_the_lock_stays(
    session: SenderSession, other: SenderSession
) -> None:
    kept, path = made(other), made(session)
    (path.parent / "lock").touch()

    assert stores.remove(session)
    assert not stores.remove(session)

    assert os.listdir(path.parent) == ["lock"]
    assert kept.exists()


def test_it_removes_the_stores_of_erased_tenants_only(
    session: SenderSession, other: SenderSession, root: Path
) -> None:
    kept, path = made(other), made(session)
    (root / "logs").mkdir()
    StoreRemoval.objects.create(erased_tenant=session.tenant_id)
    stores.make_folder(stores.backups_of(session))

    assert [stores.remove_erased(), stores.remove_erased()] == [1, 0]

    assert not path.parent.parent.exists()
    assert kept.exists()
    assert (root / "logs").exists()


def test_it_removes_a_link_and_not_what_it_leads_to(
    session: SenderSession, other: SenderSession, root: Path
) -> None:
    kept = made(other)
    (root / str(session.tenant_id)).symlink_to(kept.parent.parent)
    StoreRemoval.objects.create(erased_tenant=session.tenant_id)

    assert stores.remove_erased() == 1

    assert kept.exists()
    assert not os.path.lexists(root / str(session.tenant_id))


def test_it_follows_no_link_inside_what_it_removes(session: SenderSession, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (made(session).parent / "link").symlink_to(outside)
    StoreRemoval.objects.create(erased_tenant=session.tenant_id)

    assert stores.remove_erased() == 1

    assert (outside / "kept").exists()


def test_it_has_nothing_to_remove_where_no_store_was_ever(session: SenderSession) -> None:
    StoreRemoval.objects.create(erased_tenant=session.tenant_id)

    assert stores.remove_erased() == 0
