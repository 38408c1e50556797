"""Files that only their owner reads, and that nobody finds half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib import files
from lib.files import write_private


def test_it_writes_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "secret.key"

    assert write_private(path, "é\n")
    assert path.read_text(encoding="utf-8") == "é\n"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert list(path.parent.iterdir()) == [path]


def test_it_replaces_a_file_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text("old")
    path.chmod(0o644)

    assert write_private(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_it_leaves_what_is_there_unless_it_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "master.key"

    assert [write_private(path, text, replaces=False) for text in ("one", "two")] == [True, False]
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_loss_of_power_leaves_no_half_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "engines.json", []
    path.write_text("old")
    monkeypatch.setattr(files.os, "fsync", lambda _: seen.append(path.read_text()))

    write_private(path, "new")

    assert seen == ["old"]  # what is on the disk already when the file gets its name
