"""An engine that cannot be used: which failures are its own, and the one sentence that is said."""

from __future__ import annotations

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, connection
from psycopg import errors
from redis.exceptions import ConnectionError as BrokerAway

from sigma import reachable
from sigma.reachable import DataFromBefore, EngineUnreachable

NOBODY = "127.0.0.1:1"


def wrapped(error: Exception) -> DatabaseError:
    """Return an error of the driver as Django raises it."""
    outer = OperationalError(str(error))
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("state", "begins"),
    [
        # The connection, no room for one, the server ends or begins.
        ("08006", "The database cannot be used"),
        ("53300", "The database cannot be used"),
        ("57P01", "The database cannot be used"),
        ("57P03", "The database cannot be used"),
        ("42501", "The database's role may not do this"),
        ("42P01", "The database does not have this version's tables"),
        ("42703", "The database does not have this version's tables"),
        ("42883", "The database does not have this version's tables"),
        # A statement that took too long, a lock that was not had, a bug of ours.
        ("57014", ""),
        ("55P03", ""),
        ("40P01", ""),
        ("23505", ""),
        ("42601", ""),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_it_tells_what_is_the_engines_by_its_state(
    state: str, begins: str, is_wrapped: bool
) -> None:
    error: Exception = errors.lookup(state)("something happened.\nDETAIL: not for the operator")

    said = reachable.remedy_for(wrapped(error) if is_wrapped else error)

    assert said.startswith(begins)
    assert bool(said) is bool(begins)
    assert "DETAIL" not in said


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (psycopg.OperationalError("connection failed"), True),
        (psycopg.OperationalError(""), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (psycopg.InterfaceError("the cursor is closed"), False),
        (psycopg.ProgrammingError("the query has 0 placeholders"), False),
        (ValueError("the connection is closed"), False),
        (OperationalError("of nobody knows what"), False),
    ],
)
def test_a_bug_of_ours_is_no_engine_that_is_away(error: Exception, is_away: bool) -> None:
    said = reachable.remedy_for(error)

    assert said.startswith("The database cannot be used: ") is is_away
    assert bool(said) is is_away


def test_it_names_the_setting_of_the_broker_that_is_away() -> None:
    said = reachable.remedy_for(BrokerAway("Error 111 connecting."))

    assert said.startswith("The broker cannot be used: Error 111 connecting. Start it")
    assert "REDIS_URL" in said


def test_an_engine_without_words_is_called_by_its_error() -> None:
    assert "OperationalError" in reachable.remedy_for(psycopg.OperationalError(""))


def test_a_database_that_nobody_serves_is_one_sentence_without_the_password() -> None:
    with pytest.raises(EngineUnreachable, match=r"^The database cannot be used: ") as raised:
        reachable.check_database(f"postgresql://acme:hidden@{NOBODY}/acme?connect_timeout=1")

    assert "hidden" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "DATABASE_URL" in str(raised.value)


def test_a_broker_that_nobody_serves_is_one_sentence_without_the_password() -> None:
    with pytest.raises(EngineUnreachable, match=r"^The broker cannot be used: ") as raised:
        reachable.check_broker(f"redis://:hidden@{NOBODY}/0")

    assert "hidden" not in str(raised.value)
    assert "REDIS_URL" in str(raised.value)


@pytest.mark.parametrize(("app", "is_old"), [("connectors", True), ("connectors_of_others", False)])
def test_data_from_before_are_left_alone(db: None, app: str, is_old: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES (%s, '0001', now())", [app]
        )
    try:
        reachable.check_form(connection.connection)
    except DataFromBefore as error:
        assert is_old
        assert "nothing was changed" in str(error)
        assert reachable.remedy_for(error) == str(error)
    else:
        assert not is_old


def test_an_empty_database_is_no_data_from_before(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA empty; SET LOCAL search_path = empty")

    reachable.check_form(connection.connection)
