"""Look for phone numbers at rest: in every table, and in files where the database lets us.

The search proves itself first: a number is written in plaintext, in each form that it can take, and
has to be found. Then a number is received as a customer's, in a tenant made for it, and must not
be. All of that happens in one transaction that is rolled back.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DatabaseError, connection, transaction
from psycopg import sql

from connectors.whatsapp.results import BatchResult, Callback
from connectors.whatsapp.updates import process
from lib.brake import Brake
from lib.numbering import national_part
from messaging.models import Message
from workspaces import keys, provisioning

# What may stand between the digits of a number: people paste hyphens and spaces of all kinds.
SEPARATORS = " \t\u00a0\u2009\u202f().-/_+\u2010\u2011\u2012\u2013\u2014\u2015"
# Larger relation files are not read: the rows in them are.
LARGEST_FILE = 64 * 1024 * 1024
TABLES = """
SELECT n.nspname, c.relname, row_security_active(c.oid) AND NOT EXISTS (
    SELECT FROM pg_policies p WHERE p.schemaname = n.nspname AND p.tablename = c.relname
      AND current_user = ANY(p.roles) AND (p.qual = 'true'
        OR p.policyname = 'application_rows'  -- all rows, unless a tenant is set
        AND coalesce(current_setting('sigma.tenant_id', true), '') = ''))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND (n.nspname NOT LIKE 'pg\\_%' OR n.oid = pg_my_temp_schema()) ORDER BY 1, 2
"""
FILES = """
SELECT path, pg_read_binary_file(path, 0, %(most)s, true)
FROM pg_database, LATERAL pg_ls_dir('base/' || oid) name,
     LATERAL (SELECT 'base/' || oid || '/' || name AS path) there
WHERE datname = current_database()
  AND (pg_stat_file(path, true)).size BETWEEN 1 AND %(most)s
"""


class CouldNotLook(Exception):
    """The search did not see everything, so that its finding nothing would mean nothing."""


@dataclass(slots=True)
class PrivacyReport:
    """What was looked at, and where a number was found (table or file, by number of rows)."""

    tables: int = 0
    rows: int = 0
    files: int = 0
    files_reason: str = ""
    found: dict[str, int] = field(default_factory=dict)


def disguises(text: str) -> set[str]:
    """Return the forms of a text to look for: itself, as hexadecimal digits, and in base64 at each
    alignment, as a wamid holds a number.
    """
    plain = text.encode()
    found = {text, plain.hex()}
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + plain).decode().rstrip("=")
        core = whole[-(-8 * shift // 6) : len(whole) - 1]
        found |= {core, core.encode().hex()}
    return found


def found_in_bytes(content: bytes, wanted: Iterable[str]) -> set[str]:
    """Return what of ``wanted`` stands in a file, with or without separators."""
    between = b"|".join(re.escape(one.encode()) for one in SEPARATORS)
    bare = re.sub(between, b"", content)
    return {one for one in wanted if one.encode() in content or one.encode() in bare}


def database_files() -> Iterator[tuple[str, bytes]]:
    """Yield the files of this database as they are on disk: tables, indexes, TOAST, catalogues,
    and whatever of deleted rows nobody vacuumed yet.

    Raises:
        DatabaseError: the database does not let us.
    """
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        cursor.execute(FILES, {"most": LARGEST_FILE})
        for path, content in cursor:
            yield path, bytes(content or b"")


def check(numbers: Sequence[str], *, now: datetime) -> PrivacyReport:
    """Return where the planted number, and ``numbers`` (digits), are at rest.

    Raises:
        CouldNotLook: something is hidden from us, or the search would have missed a number.
    """
    planted = _made_up()
    with transaction.atomic():
        _prove_the_search()
        _receive(planted, now)
        report = _look([planted, *numbers])
        transaction.set_rollback(True)
    keys.forget()  # those of the tenant that never was
    _look_at_files(report, [planted, *numbers])
    return report


def _made_up() -> str:
    """Return a number that is nobody's: country code 999 is not given to any country (ITU-T)."""
    return f"999{secrets.randbelow(9 * 10**9) + 10**9}"


def _prove_the_search() -> None:
    """Write a number in every form into a table of its own; each must be found.

    Raises:
        CouldNotLook: one was not.
    """
    number = _made_up()
    wamid = "wamid." + base64.b64encode(b"\x1c\x15" + number.encode() + b"\x15").decode()
    spaced = f"+{number[:3]} {number[3:6]}-{number[6:]}"
    shown = (number, spaced, json.dumps({"a": [number]}), wamid, number.encode().hex())
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE privacy_check_control (shown text)")
        for form in shown:
            cursor.execute("INSERT INTO privacy_check_control VALUES (%s)", [form])
        places = _look([number]).found
        found = sum(n for place, n in places.items() if place.endswith(".privacy_check_control"))
        cursor.execute("DROP TABLE privacy_check_control")
    if found != len(shown):
        raise CouldNotLook(f"The search found {found} of {len(shown)} numbers that were there.")


def _receive(number: str, now: datetime) -> None:
    """Let somebody with this number write to a tenant that is made for it.

    Raises:
        CouldNotLook: the message was not stored, so nothing could be found of it.
    """
    name = f"privacy-check-{secrets.token_hex(4)}"
    tenant = provisioning.create_tenant(slug=name, name=name)
    external_id = number[::-1]
    provisioning.create_workspace(
        tenant_id=tenant.id, name=name, external_id=external_id, waba_id=external_id
    )
    result = BatchResult()
    body = json.dumps(_callback(number, external_id)).encode()
    process([Callback(0, now, tenant.id, body)], result, Brake("privacy check"))
    if Message.objects.filter(tenant_id=tenant.id).count() != 2:
        raise CouldNotLook("The planted messages were not stored.")


def _callback(number: str, external_id: str) -> dict[str, object]:
    wamid = "wamid." + base64.b64encode(b"\x1c\x15" + number.encode() + b"\x15").decode()
    pressed = {"type": "button_reply", "button_reply": {"id": f"to:+{number}", "title": number}}
    common = {"from": number, "timestamp": "1790000000"}
    value = {
        "metadata": {"phone_number_id": external_id},
        "contacts": [{"wa_id": number, "profile": {"name": f"Me +{number}"}}],
        "messages": [
            {**common, "id": f"{wamid}1", "type": "text", "text": {"body": "Hello"}},
            {**common, "id": f"{wamid}2", "type": "interactive", "interactive": pressed},
        ],
    }
    change = {"field": "messages", "value": value}
    entry = [{"id": external_id, "changes": [change]}]
    return {"object": "whatsapp_business_account", "entry": entry}


def _look(numbers: Sequence[str]) -> PrivacyReport:
    report = PrivacyReport()
    patterns = [f"%{form}%" for form in _forms(numbers)]
    for schema, table in _tables():
        statement = sql.SQL(
            "SELECT count(*), count(*) FILTER (WHERE t.line LIKE ANY(%(p)s)"
            " OR translate(t.line, %(s)s, '') LIKE ANY(%(p)s))"
            " FROM (SELECT r::text AS line FROM {} r) t"
        ).format(sql.Identifier(schema, table))
        with connection.cursor() as cursor:
            cursor.execute(statement, {"p": patterns, "s": SEPARATORS})
            rows, found = cursor.fetchone()
        report.tables += 1
        report.rows += rows
        if found:
            report.found[f"{schema}.{table}"] = found
    return report


def _forms(numbers: Sequence[str]) -> set[str]:
    """Return what to look for: country codes are left out, as people leave them out."""
    return set[str]().union(*(disguises(national_part(number)) for number in numbers))


def _tables() -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        for schema, table, is_hidden in cursor.fetchall():
            if is_hidden:
                raise CouldNotLook(f"Row-level security hides rows of {schema}.{table} from us.")
            yield schema, table


def _look_at_files(report: PrivacyReport, numbers: Sequence[str]) -> None:
    """Look at the database's files as they are on disk: indexes, and rows that were deleted."""
    wanted = _forms(numbers)
    try:
        with transaction.atomic():
            for path, content in database_files():
                report.files += 1
                found = len(found_in_bytes(content, wanted))
                if found:
                    report.found[path] = found
    except DatabaseError as error:
        report.files_reason = str(error).partition("\n")[0]
