"""What a log line may hold, whoever wrote it."""

from __future__ import annotations

import json
import logging
import sys
from uuid import UUID

import pytest
from django.test import RequestFactory
from redis.exceptions import OutOfMemoryError

from lib import errorids
from sigma.broker import PatientConsumer
from sigma.celery import app
from sigma.logs import JsonFormatter, OnceAMinute, Redact, TextFormatter

FORMATTERS = [TextFormatter(), JsonFormatter()]
PERSONAL = [
    "27831234567",
    "+27 83 123 4567",
    "(27) 83-123.4567",
    "wamid.HBgLMjc4MzEyMzQ1NjcVAgASGBQ",
    "Bearer EAAG-token",
    "access_token=EAAG-token",
    "verify_token=a-token-of-ours",
    "/media/7?token=3f2a:1vAbCd:EAAG-signature",
    "/media/7?sig=EAAG-signature",
]


def line(formatter: logging.Formatter, message: str, *args: object, **extra: object) -> str:
    """Log as a handler of ours would print it."""
    logger = logging.getLogger("sigma.whatsapp.tests")
    record = logger.makeRecord(logger.name, 30, "", 0, message, args, None, extra=extra)
    Redact().filter(record)
    return formatter.format(record)


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("personal", PERSONAL)
def test_it_masks_what_slipped_in(formatter: logging.Formatter, personal: str) -> None:
    lines = [
        line(formatter, f"From {personal} again"),
        line(formatter, "From %s again", personal),
        line(formatter, "From somebody", sender=personal),
    ]
    for printed in lines:
        assert "•••" in printed
        assert personal not in printed
        assert "EAAG" not in printed


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_it_shows_method_and_path_of_a_request_only(formatter: logging.Formatter) -> None:
    request = RequestFactory().get("/media/7", {"token": "a:b:c", "phone": "27831234567"})
    printed = line(formatter, "Not Found: %s", request.path, request=request, status_code=404)
    assert "GET /media/7" in printed
    assert "404" in printed
    for secret in ("a:b:c", "a%3Ab%3Ac", "27831234567", "token"):
        assert secret not in printed


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_it_masks_whatever_is_passed_along(formatter: logging.Formatter) -> None:
    things = {"one": ["27831234567"], "two": {"at": ValueError("verify_token=abc")}}
    printed = line(formatter, "Failed", **things)
    assert "27831234567" not in printed
    assert "abc" not in printed


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_it_masks_tracebacks(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("sigma.whatsapp", 40, "", 0, "Failed", None, None)
    try:
        raise ValueError("27831234567")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "27831234567" not in formatter.format(record)
    assert "ValueError" in formatter.format(record)


def test_it_keeps_the_number_of_an_error_id_also_where_it_is_all_digits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(errorids, "uuid4", lambda: UUID("27831234-5678-7000-8000-000000000000"))
    caplog.handler.addFilter(Redact())

    told = errorids.hide(logging.getLogger("sigma.whatsapp.tests"), "A trial", None)

    assert told.rstrip(".").split()[-1] in caplog.text


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_it_keeps_what_operators_need(formatter: logging.Formatter) -> None:
    tenant = "01a20062-75b6-71b5-92cd-03c4cedc6320"
    printed = line(formatter, "took %d ms", 12, tenant_id=tenant, delivery=1234567890, slug="acme")
    for kept in (tenant, "1234567890", "acme", "took 12 ms", "sigma.whatsapp.tests"):
        assert kept in printed


def test_it_writes_one_json_object_a_line() -> None:
    printed = line(JsonFormatter(), 'a "quoted"\nline', count=3)
    document = json.loads(printed)
    assert "\n" not in printed
    assert (document["level"], document["count"]) == ("warning", 3)
    assert document["message"] == 'a "quoted"\nline'


def trouble(
    error: str, *, name: str = "sigma.whatsapp.wakeups", **extra: object
) -> logging.LogRecord:
    """Return a line about an engine that is away."""
    record = logging.LogRecord(name, logging.WARNING, "", 0, "whatsapp worker not woken", (), None)
    vars(record).update({"error": error, **extra})
    return record


def test_it_writes_a_lasting_trouble_once_a_minute() -> None:
    clock = [0.0]
    limit = OnceAMinute(lambda: clock[0])

    written = [limit.filter(trouble("ConnectionError")) for _ in range(1_000)]
    assert sum(written) == 1
    assert limit.filter(trouble("OutOfMemoryError"))
    assert limit.filter(trouble("ConnectionError", tenant="acme"))
    clock[0] = 61.0
    again = trouble("ConnectionError")
    assert limit.filter(again)
    assert again.repeated == 999


def test_it_writes_every_line_that_is_no_trouble_of_an_engine() -> None:
    limit = OnceAMinute()
    for _ in range(3):
        line = logging.LogRecord("sigma.whatsapp", logging.WARNING, "", 0, "refused", (), None)
        assert limit.filter(line)


def test_it_waits_for_a_broker_that_is_full_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert app.conf.broker_channel_error_retry
    assert app.conf.worker_consumer == "sigma.broker.PatientConsumer"
    consumer = PatientConsumer.__new__(PatientConsumer)
    pauses: list[float] = []

    for _ in range(6):
        consumer._wait(OutOfMemoryError(), sleep=pauses.append)

    assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert len(caplog.records) == 1
