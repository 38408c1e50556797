"""The sender's log files: private, bounded, without a number, and never in the way of a send."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from connectors.linked_device import logs
from sigma.logs import JsonFormatter

NUMBER = "27711558396"
EIGHT_HOURS = 8 * 60 * 60


@pytest.fixture(autouse=True)
def _no_file_stays_open() -> Iterator[None]:
    """Each test begins without log files."""
    yield
    for handler in list(logs.logger.handlers):
        logs.logger.removeHandler(handler)
        handler.close()


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """The folder of the log files."""
    settings.SIGMA_SENDER_STORE = tmp_path / "sender"
    return tmp_path / "sender" / "logs"


def say_sent() -> None:
    """Log one message as sent."""
    logs.sent(message_id=uuid4(), workspace_id=uuid4(), number=NUMBER, transport="LINKED_DEVICE")


def say_failed(message: str = "Not on WhatsApp.") -> None:
    """Log one message as failed."""
    logs.failed(
        message_id=uuid4(), workspace_id=uuid4(), number=NUMBER, code=131026, message=message
    )


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return path.stat().st_mode & 0o777


def test_it_writes_the_two_lines_with_a_masked_number(folder: Path) -> None:
    logs.attach("sender")
    say_sent()
    say_failed()
    sent, error = (folder / "sender.log").read_text().splitlines()
    assert "INFO" in sent
    assert "message sent" in sent
    assert "to=+27XXXXXXXXX" in sent
    assert "ERROR" in error
    assert "code=131026" in error
    assert "to=+27XXXXXXXXX" in error


def test_it_says_the_same_words_as_json(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sigma.whatsapp.sender")
    say_sent()
    say_failed()
    sent, error = (JsonFormatter().format(record) for record in caplog.records)
    assert '"message sent"' in sent
    assert "ERROR" in error
    assert NUMBER not in sent + error


def test_it_writes_no_number_that_comes_in_a_reason(folder: Path) -> None:
    logs.attach("sender")
    say_failed(f"+{NUMBER} is not on WhatsApp")
    logging.getLogger("sigma.whatsapp.sender").info("whatsapp said +27 71 155 8396")
    assert "711558" not in (folder / "sender.log").read_text().replace(" ", "")


def test_only_its_owner_reads_them_after_they_rotated_too(folder: Path) -> None:
    logs.attach("sender", size=400, files=3)
    for _ in range(12):
        say_sent()
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "sender.log": 0o600,
        "sender.log.1": 0o600,
        "sender.log.2": 0o600,
    }


def test_eight_hours_of_messages_stay_within_their_bound(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs.attach("sender", size=50_000, files=5)
    for second in range(0, EIGHT_HOURS, 6):
        record = logs.logger.makeRecord(
            logs.logger.name, logging.INFO, __file__, 1, "message sent", (), None
        )
        record.created = 1_800_000_000 + second
        logs.logger.handle(record)
    files = sorted(folder.iterdir())
    assert len(files) == 5
    assert sum(path.stat().st_size for path in files) <= 5 * 50_000
    assert "2027-01-15T15:59:54" in (folder / "sender.log").read_text()


def test_it_attaches_a_file_once(folder: Path) -> None:
    logs.attach("sender")
    logs.attach("sender")
    say_sent()
    assert (folder / "sender.log").read_text().count("message sent") == 1


def test_a_folder_that_cannot_be_is_said_once_and_stops_nobody(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.write_text("in the way")
    logs.attach("sender")
    say_sent()
    say_sent()
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "whatsapp sender cannot write its log file; sending goes on"
    ]


def test_a_full_disk_is_said_once_and_stops_nobody(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(parents=True)
    (folder / "sender.log").symlink_to("/dev/full")
    logs.attach("sender")
    say_sent()
    say_sent()
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "No space left on device" in str(warnings[0].exc_info)


def test_it_writes_again_once_there_is_room(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "sender.log").symlink_to("/dev/full")
    logs.attach("sender")
    say_sent()
    (folder / "sender.log").unlink()
    say_sent()
    assert (folder / "sender.log").read_text().count("message sent") == 1
