"""The page on which somebody links a phone: what it asks for, what it shows, to whom, how long."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry

from connectors.linked_device.models import PairBy, SenderSession
from tests.conftest import Cast
from tests.linked_device import devices
from tests.linked_device.devices import asked, html, url_of
from tests.people import member
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db

NUMBER = "+27 71 155 8396"
DIGITS = "27711558396"


@pytest.fixture
def device(acme: Cast) -> Workspace:
    """A linked device of acme."""
    return devices.linked(acme)


def test_the_pairing_page_says_what_whatsapps_terms_say(acme: Cast, device: Workspace) -> None:
    page = html(member(acme.tenant), url_of("pair", devices.session_of(device)))

    assert "outside WhatsApp&#x27;s terms" in page
    assert "may get the number banned" in page
    assert "Settings &gt; Linked devices" in page


@pytest.mark.parametrize("form", [{"by": "QR"}, {"by": "CODE", "phone": NUMBER}])
def test_it_asks_a_phone_to_link(acme: Cast, device: Workspace, form: dict[str, str]) -> None:
    session, browser = devices.session_of(device), member(acme.tenant)

    for _ in range(2):
        answer = browser.post(url_of("pair", session), form)
        assert answer.url == url_of("pair", session)

    assert browser.get(url_of("pairing", session)).json()["phase"] == "WAITING"
    assert asked(session)["pair_by"] == form["by"]
    said = LogEntry.objects.filter(object_id=str(session.pk)).values_list("change_message")
    assert DIGITS not in str(list(said)).replace(" ", "")


def test_it_asks_no_national_number(acme: Cast, device: Workspace) -> None:
    session = devices.session_of(device)
    form = {"by": "CODE", "phone": "0711558396"}

    answer = member(acme.tenant).post(url_of("pair", session), form, follow=True)

    assert "+27821234567" in answer.content.decode()  # how it is written
    assert "0711558396" not in answer.content.decode()
    assert asked(session)["pair_by"] == ""


@pytest.mark.parametrize("by", PairBy)
def test_it_shows_the_code_of_the_moment(
    acme: Cast, device: Workspace, now: datetime, by: PairBy
) -> None:
    session, browser = devices.pairing(device, now, by), member(acme.tenant)

    answer = browser.get(url_of("pairing", session))

    facts = answer.json()
    assert (facts["phase"], facts["by"]) == ("SHOWN", by)
    assert facts["code"] == ("" if by == PairBy.QR else devices.CODE)
    assert facts["qr"].startswith("<svg ") == (by == PairBy.QR)
    assert 50 < facts["seconds"] <= 60
    assert (facts["qr"] or facts["code"]) in html(browser, url_of("pair", session))


def test_no_cache_keeps_the_code(acme: Cast, device: Workspace, now: datetime) -> None:
    session, browser = devices.pairing(device, now), member(acme.tenant)

    for url in (url_of("pair", session), url_of("pairing", session)):
        assert "no-store" in browser.get(url)["Cache-Control"]


def test_the_qr_code_is_replaced_by_the_next(acme: Cast, device: Workspace, now: datetime) -> None:
    session, browser = devices.pairing(device, now), member(acme.tenant)
    first = browser.get(url_of("pairing", session)).json()["qr"]

    devices.show(session, "2@bmV4dA==,x", by=PairBy.QR, until=now + timedelta(seconds=20))

    assert browser.get(url_of("pairing", session)).json()["qr"] != first


def test_it_shows_no_code_that_is_over(acme: Cast, device: Workspace, now: datetime) -> None:
    session = devices.session_of(device)
    devices.show(session, devices.CODE, by=PairBy.CODE, until=now - timedelta(seconds=1))
    browser = member(acme.tenant)

    assert browser.get(url_of("pairing", session)).json()["phase"] == "WAITING"
    assert devices.CODE not in html(browser, url_of("pair", session))


def test_it_says_that_a_phone_is_linked(acme: Cast, device: Workspace, now: datetime) -> None:
    session = devices.pairing(device, now)
    SenderSession.objects.filter(pk=session.pk).update(paired_at=now, state="CONNECTED")

    facts = member(acme.tenant).get(url_of("pairing", session)).json()

    assert (facts["phase"], facts["state"]) == ("LINKED", "Connected")
    assert "qr" not in facts


def test_a_pairing_can_be_given_up(acme: Cast, device: Workspace, now: datetime) -> None:
    session, browser = devices.pairing(device, now), member(acme.tenant)

    answer = browser.post(url_of("ask", session, "stop"), {"back": "pair"})

    assert answer.url == url_of("pair", session)
    assert asked(session)["wanted"] == "STOPPED"


def test_the_page_writes_what_it_is_told_as_text() -> None:
    script = Path(__file__).parents[2] / "connectors/linked_device/static/linked_device/pairing.js"

    assert "innerHTML" not in script.read_text()
