"""``manage.py sender pair`` and what waits, against rows that change as a process changes them."""

from __future__ import annotations

import _thread
import io
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError
from django.db import connection

from connectors.linked_device import sessions, status
from connectors.linked_device.commands import pairing
from connectors.linked_device.models import SenderSession, SessionLease, SessionState
from connectors.linked_device.status import SessionStatus
from lib.qrcodes import as_text
from messaging import numbers
from messaging.models import NumberState
from tests.conftest import Cast
from tests.linked_device.conftest import Sender
from tests.linked_device.rows import hold, linked, session_of

pytestmark = pytest.mark.django_db(transaction=True)
QR = ["2@abcdefghijklmnop,first", "2@abcdefghijklmnop,second"]
CODE = "ABCD-EFGH"
Meanwhile = Callable[..., None]


@pytest.fixture
def meanwhile(wait_for: Callable[..., None]) -> Iterator[Meanwhile]:
    """Do something in another thread, as a session's process would, once it was asked for."""
    with ThreadPoolExecutor(1) as pool:
        running = []

        def do(work: Callable[[SenderSession], None], *, asked: str = "RUNNING") -> None:
            def run() -> None:
                try:
                    wait_for(lambda: SenderSession.objects.filter(wanted=asked).exists())
                    work(SenderSession.objects.get())
                finally:
                    connection.close()

            running.append(pool.submit(run))

        yield do
        for each in running:
            each.result(timeout=120)


def write_status(session: SenderSession, state: SessionState, reason: str = "Because.") -> None:
    """Write the session's status."""
    status.write(session.id, SessionStatus(state, reason), now=datetime.now(UTC))


def show(session: SenderSession, code: str, seconds: float = 20) -> None:
    """Show a QR code or pairing code."""
    SenderSession.objects.filter(pk=session.pk).update(
        sealed_pairing=sessions.seal_pairing(session, code),
        pairing_expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
    )
    write_status(session, SessionState.PAIRING)


def session_number(session: SenderSession, digits: str) -> None:
    """Tell which number the account has."""
    sealed = numbers.seal(digits, tenant_id=session.tenant_id, workspace_id=session.workspace_id)
    NumberState.objects.update(sealed_number=sealed)


def link(session: SenderSession) -> None:
    """Link a phone and connect."""
    SenderSession.objects.filter(pk=session.pk).update(
        sealed_pairing=None, pair_by="", paired_at=datetime.now(UTC)
    )
    write_status(session, SessionState.CONNECTED)


def test_pairing_refuses_a_national_number(sender: Sender, acme: Cast) -> None:
    linked(acme)
    with pytest.raises(CommandError, match="The number is national"):
        sender("pair", "--phone", "0711558396")


def test_pairing_refuses_where_a_phone_is_linked(sender: Sender, acme: Cast, now: datetime) -> None:
    session_of(linked(acme), now)
    with pytest.raises(CommandError, match="A phone is linked with this account already"):
        sender("pair")
    assert sessions.pairing_of(SenderSession.objects.get(), now=now) is None


def test_pairing_shows_each_code_until_the_phone_is_linked(
    sender: Sender,
    acme: Cast,
    meanwhile: Meanwhile,
    caplog: pytest.LogCaptureFixture,
    wait_for: Callable[..., None],
) -> None:
    caplog.set_level(logging.DEBUG)
    linked(acme)

    out = io.StringIO()

    def work(session: SenderSession) -> None:
        for code in QR:
            show(session, code)
            wait_for(lambda code=code: as_text(code) in out.getvalue())
        link(session)

    meanwhile(work)
    shown = sender("pair", "--qr", out=out)
    assert shown.index("outside WhatsApp's terms") < shown.index(as_text(QR[0]))
    assert shown.index(as_text(QR[0])) < shown.index(as_text(QR[1]))
    assert re.search(r"scan this\. (20|19) s left", shown)
    assert shown.endswith("Successfully logged in.\n")
    assert not any(code in caplog.text for code in QR)


def test_pairing_by_code_says_where_to_type_it(
    sender: Sender, acme: Cast, meanwhile: Meanwhile, now: datetime, wait_for: Callable[..., None]
) -> None:
    linked(acme)
    out = io.StringIO()

    def work(session: SenderSession) -> None:
        assert sessions.number_to_pair(session) == "27711558396"
        show(session, CODE, 160)
        wait_for(lambda: CODE in out.getvalue())
        session_number(session, "27711558396")
        link(session)

    meanwhile(work)
    shown = sender("pair", "--phone", "+27 71 155 8396", out=out)
    assert "WhatsApp > Settings > Linked devices" in shown
    assert CODE in shown
    assert shown.endswith("Successfully logged in as +27XXXXXXXXX.\n")
    assert "711558396" not in shown


def test_pairing_that_nobody_answers_ends_with_the_reason(
    sender: Sender, acme: Cast, meanwhile: Meanwhile
) -> None:
    linked(acme)

    def work(session: SenderSession) -> None:
        SenderSession.objects.update(wanted="STOPPED", pair_by="")
        write_status(session, SessionState.STOPPED, "No phone was linked in time.")

    meanwhile(work)
    with pytest.raises(CommandError, match="No phone was linked in time"):
        sender("pair")


def test_pairing_is_given_up_when_its_time_is_over(sender: Sender, acme: Cast) -> None:
    linked(acme)
    with pytest.raises(CommandError, match=r"within 0 s; the pairing is given up"):
        sender("pair", "--wait", 0.1)
    assert SenderSession.objects.values_list("wanted", "pair_by").get() == ("STOPPED", "")


def test_ctrl_c_gives_a_pairing_up(sender: Sender, acme: Cast, meanwhile: Meanwhile) -> None:
    linked(acme)
    meanwhile(lambda session: _thread.interrupt_main())
    with pytest.raises(CommandError, match="Given up; no phone is linked"):
        sender("pair")
    assert SenderSession.objects.get().wanted == "STOPPED"


def test_ctrl_c_gives_a_pairing_up_in_the_middle_of_a_statement(
    sender: Sender, acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked(acme)

    def interrupted(*_: object) -> None:
        connection.ensure_connection()
        connection.connection.pgconn.send_query(b"SELECT pg_sleep(0.5)")
        raise KeyboardInterrupt

    monkeypatch.setattr(pairing, "_watch", interrupted)
    with pytest.raises(CommandError, match="Given up; no phone is linked"):
        sender("pair")
    assert SenderSession.objects.get().wanted == "STOPPED"


def test_a_limit_that_comes_while_pairing_ends_it(
    sender: Sender, acme: Cast, meanwhile: Meanwhile
) -> None:
    linked(acme)
    meanwhile(
        lambda session: write_status(session, SessionState.RATE_LIMITED, "429 rate-overlimit.")
    )
    with pytest.raises(CommandError, match=r"Asked to wait .*429 rate-overlimit"):
        sender("pair")


def test_start_waits_until_a_process_is_connected(
    sender: Sender, acme: Cast, meanwhile: Meanwhile, now: datetime
) -> None:
    session_of(linked(acme), now, "STOPPED", wanted="STOPPED", stopped_at=now)

    def work(session: SenderSession) -> None:
        write_status(session, SessionState.CONNECTED)
        hold(session, datetime.now(UTC))

    meanwhile(work)
    shown = sender("start")
    assert "acme/Front desk is connected." in shown


def test_stop_waits_until_the_process_has_ended(
    sender: Sender, acme: Cast, meanwhile: Meanwhile, now: datetime, wait_for: Callable[..., None]
) -> None:
    hold(session_of(linked(acme), now), now)
    out = io.StringIO()

    def work(session: SenderSession) -> None:
        wait_for(lambda: "… its process ends, after the send" in out.getvalue())
        SessionLease.objects.update(owner=None, expires_at=datetime.now(UTC))

    meanwhile(work, asked="STOPPED")
    shown = sender("stop", out=out)
    assert shown.endswith("acme/Front desk is stopped.\n")


def test_restart_is_not_done_by_the_old_process(
    sender: Sender, acme: Cast, meanwhile: Meanwhile, now: datetime
) -> None:
    hold(session_of(linked(acme), now, started_at=now - timedelta(days=1)), now)
    with pytest.raises(CommandError, match="Not done within 0 s: its process ends"):
        sender("restart", "--wait", 0.3)
    SenderSession.objects.update(started_at=datetime.now(UTC) + timedelta(seconds=1))
    assert "is connected again" in sender("restart", "--wait", 5)
