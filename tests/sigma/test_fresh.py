"""``make fresh`` on folders that are not as ``make up`` left them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigma.engines import postgres
from tests.sigma.test_migrations import asked, run


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder of data, without servers."""
    home = tmp_path / "home"
    for folder in (postgres.data_folder(home) / "postgres", home / "valkey", home / "sender"):
        folder.mkdir(parents=True)
        (folder / "data").write_text("a secret")
    (home / "demo.json").write_text("{}")
    (home / "master.key").write_text("kept")
    yield home
    # It may be elsewhere: sigma/engines/postgres.py.
    shutil.rmtree(postgres.data_folder(home))


def left(home: Path) -> set[str]:
    """Return what stands in both folders, but for the lock."""
    there = {*home.iterdir(), *postgres.data_folder(home).iterdir()}
    return {path.name for path in there} - {"up.lock", postgres.data_folder(home).name}


@pytest.mark.parametrize("name", ["postgres", "valkey", "valkey.going", "sender", "demo.json"])
def test_it_refuses_a_link_before_anything_is_touched(home: Path, name: str) -> None:
    link = (postgres.data_folder(home) if name == "postgres" else home) / name
    disk = home.parent / "disk"
    if link.exists():
        link.rename(disk)
    else:
        disk.mkdir()
    link.symlink_to(disk)
    had = left(home)

    ended = run("-m", "sigma.fresh", "--yes", SIGMA_HOME=str(home), DATABASE_URL="")

    assert ended.returncode == 1
    [line] = ended.stdout.splitlines()
    assert line == (
        f"✗ Nothing was removed: {link} is a link to {disk}, outside of what is removed here. "
        "Remove both yourself, then go on: make fresh"
    )
    assert left(home) == had
    assert link.readlink() == disk
    assert disk.exists()


@pytest.mark.parametrize("names", [("postgres", "valkey"), ("postgres", "valkey", "sender")])
def test_it_removes_what_an_interrupted_one_left(home: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = (postgres.data_folder(home) if name == "postgres" else home) / name
        path.rename(path.with_name(f"{name}.going"))

    ended = run("-m", "sigma.fresh", "--yes", SIGMA_HOME=str(home), DATABASE_URL="")

    assert (ended.returncode, left(home)) == (0, {"master.key"})
    assert "are gone" in ended.stdout


def test_it_says_that_stores_elsewhere_stay(home: Path) -> None:
    store = home.parent / "stores"
    env = {"SIGMA_HOME": str(home), "DATABASE_URL": "", "SIGMA_SENDER_STORE": str(store)}
    said = f"SIGMA_SENDER_STORE names {store}"
    store.mkdir()

    unsure, removed = asked("no", **env), run("-m", "sigma.fresh", "--yes", **env)

    assert said in unsure.stdout.partition("Type yes")[0]
    assert said in removed.stdout
    assert store.is_dir()
    assert left(home) == {"master.key"}
