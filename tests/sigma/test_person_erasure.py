"""Who is erased is nowhere any more: no digest, no id, no name, no word; and nobody else is."""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.whatsapp.processing import process_batch
from messaging import locks, optouts, person_erasure, search_index
from messaging.models import (
    Broadcast,
    BroadcastRecipient,
    Contact,
    ContactIdentity,
    Conversation,
    Message,
    MessageStatus,
    OptOut,
    OptOutSource,
    PersonErasure,
)
from sigma import erasure
from tests.conftest import Cast
from tests.events.test_outbox import subscribe
from tests.graphql.conftest import Gql, gql, key_with
from tests.messaging.test_desk import label
from tests.messaging.test_inbox import get
from tests.sending.conftest import _no_wake_ups, hear
from tests.sending.test_rest import ask
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from workspaces.access import Scope
from workspaces.identity import digester

__all__ = ["_no_wake_ups", "gql"]

pytestmark = pytest.mark.django_db

PRIVACY = (Path(__file__).parents[2] / "docs/privacy.md").read_text(encoding="utf-8")
# Numbers that are written in one way, and in two.
PHONES = ("27821234567", "5511987654321", "5215512345678", "15550123456")
NEIGHBOUR = "27829999999"
ERASE = """
mutation ($input: EraseContactInput!) { eraseContact(input: $input) {
  success erasure { id contactId isDryRun endedAt removed { table count } receipt }
  errors { code field message }
} }
"""
READ = """
query ($id: ID!) { personErasure(id: $id) {
  endedAt removed { table count } receipt signature
} }
"""
# What ends with Raw (sealed), and what says that somebody was erased.
APART = {"webhook_deliveries", "webhook_dead", "person_erasures"}


def knows(cast: Cast, phone: str, now: datetime, name: str = "Canary") -> Contact:
    """Let a person write, be answered, noted about, opted out and put on a list."""
    wamids = [f"wamid.{uuid4()}" for _ in range(2)]
    at = int((now - timedelta(minutes=5)).timestamp())
    image = {**text(wamids[1], sender=phone, at=at), "type": "image"}
    image["image"] = {"id": "55", "mime_type": "image/png", "caption": f"{name} {phone}"}
    said = [text(wamids[0], f"I am {name}", phone, at), image]
    deliver(
        cast.tenant.id,
        callback(cast.workspace.external_id, messages=said, contacts=[contact(phone, name)]),
    )
    process_batch(10)
    digest = digester(cast.tenant.id)
    known = ContactIdentity.objects.get(
        tenant_id=cast.tenant.id, digest=digest.phone(phone)
    ).contact
    conversation = Conversation.objects.get(contact_id=known.id)
    sent = {"workspace_id": str(cast.workspace.id), "contact_id": str(known.id), "text": name}
    assert ask(cast, body=sent)[0] == 201
    path = f"/api/v1/conversations/{conversation.id}"
    assert ask(cast, f"{path}/notes", {"text": name})[0] == 201
    assert ask(cast, f"{path}/read", {})[0] == 200
    (mine,) = get(cast, "/api/v1/labels")[1]["nodes"] or [{"id": label(cast)}]
    assert ask(cast, path, {"add_label_ids": [mine["id"]]}, "patch")[0] == 200
    early = {**status(f"wamid.{uuid4()}", "sent"), "recipient_id": phone}
    deliver(cast.tenant.id, callback(cast.workspace.external_id, statuses=[early]))
    process_batch(10)
    listed, _ = Broadcast.objects.get_or_create(
        tenant_id=cast.tenant.id,
        defaults={
            "workspace_id": cast.workspace.id,
            "name": "Spring",
            "template_name": "spring",
            "language": "en",
        },
    )
    BroadcastRecipient.objects.create(
        tenant_id=cast.tenant.id,
        broadcast_id=listed.id,
        position=BroadcastRecipient.objects.count(),
        digest=digest.phones(phone)[-1],
        sealed=b"sealed",
    )
    search_index.read_pending()
    boss, _ = User.objects.get_or_create(username="boss")
    LogEntry.objects.log_actions(boss.pk, [known], 2, single_object=True)
    optouts.opt_out(
        tenant_id=cast.tenant.id, contact_ids=[known.id], source=OptOutSource.API, at=now
    )
    return known


def everything() -> dict[str, str]:
    """Return what every table holds, as text."""
    names = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    found = {}
    with connection.cursor() as cursor:
        for name in sorted(names - APART):
            cursor.execute(f"SELECT t::text FROM {name} t")  # noqa: S608
            found[name] = "\n".join(row for (row,) in cursor.fetchall())
    return found


def traces(cast: Cast, known: Contact, phone: str) -> set[str]:
    """Return what gives a person away."""
    theirs = Message.objects.filter(contact_id=known.id)
    ids = [known.id, *theirs.values_list("id", flat=True)]
    ids += Conversation.objects.filter(contact_id=known.id).values_list("id", flat=True)
    wamids = theirs.exclude(platform_message_id=None).values_list("platform_message_id", flat=True)
    digests = digester(cast.tenant.id).phones(phone)
    return {*map(str, ids), *wamids, *digests, phone, known.display_name}


def found_in(tables: dict[str, str], what: set[str]) -> set[tuple[str, str]]:
    return {(table, one) for table, text in tables.items() for one in what if one in text}


def erase(cast: Cast, known: Contact, now: datetime, **how: bool) -> PersonErasure:
    pending = person_erasure.request(
        tenant_id=cast.tenant.id, contact_id=known.id, by="test", now=now, **how
    )
    search_index.read_pending()  # as the worker does every few seconds: it notes ids alone
    return erasure.erase_person(pending, now=now)


@pytest.mark.parametrize("phone", PHONES)
def test_nothing_of_a_person_is_left_and_nothing_of_others_is_gone(
    acme: Cast, globex: Cast, now: datetime, phone: str
) -> None:
    for cast in (acme, globex):
        subscribe(cast)
    mine, theirs = knows(acme, phone, now), knows(globex, phone, now)
    other = knows(acme, NEIGHBOUR, now, "Neighbour")
    before, what = everything(), traces(acme, mine, phone)
    stays = found_in(before, traces(globex, theirs, phone) | traces(acme, other, NEIGHBOUR))
    assert {table for table, _ in found_in(before, what)} >= {
        "broadcast_recipients",
        "contact_identities",
        "contacts",
        "conversation_notes",
        "conversations",
        "django_admin_log",
        "media",
        "message_statuses",
        "message_words",
        "messages",
        "opt_outs",
        "outbox",
        "outgoing_events",
        "read_marks",
    }

    erase(acme, mine, now, keeps_opt_out=False)

    after = everything()
    hidden = {phone, mine.display_name}  # which the other tenant's person has, too
    assert found_in(after, what - hidden) == set()
    assert stays <= found_in(after, traces(globex, theirs, phone) | traces(acme, other, NEIGHBOUR))
    for table, text_of_table in before.items():
        rows = text_of_table.splitlines()
        gone = [row for row in rows if row not in after[table]]
        assert not any(str(globex.tenant.id) in row for row in gone), table


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(digits=st.from_regex(r"\A(27|55119|521|1555)[1-9]{8}\Z"))
def test_no_digest_of_any_number_is_left(
    acme: Cast, globex: Cast, now: datetime, digits: str
) -> None:
    known = knows(acme, digits, now, f"Canary {uuid4()}")
    what = traces(acme, known, digits)

    erase(acme, known, now, keeps_opt_out=False)

    assert found_in(everything(), what) == set()


def test_a_stop_stays_by_digests_alone_unless_it_is_to_go(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    known = knows(acme, PHONES[1], now)
    what = traces(acme, known, PHONES[1])
    digests = {*digester(acme.tenant.id).phones(PHONES[1])}

    done = erase(acme, known, now)

    kept = {table for table, _ in found_in(everything(), what)}
    assert kept == {"contacts", "contact_identities", "opt_outs"}
    assert {row.digest for row in ContactIdentity.objects.all()} == digests
    assert {row.address for row in ContactIdentity.objects.all()} == {None}
    assert json.loads(done.receipt)["kept_opt_out"]
    # Whoever puts the number on a list again finds them out.
    assert OptOut.objects.get().lifted_at is None
    hear(acme, now, phone=PHONES[1])
    assert Message.objects.get().contact_id == known.id


def test_who_never_stopped_marketing_leaves_no_digest(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    message = hear(acme, now)

    erase(acme, Contact.objects.get(pk=message.contact_id), now)

    assert not Contact.objects.exists()
    assert not ContactIdentity.objects.exists()


def test_whoever_was_merged_goes_with_all_names(acme: Cast, globex: Cast, now: datetime) -> None:
    known, other = knows(acme, PHONES[0], now), knows(acme, PHONES[3], now, "Alias")
    Contact.objects.filter(pk=other.pk).update(merged_into=known.pk)
    ContactIdentity.objects.filter(contact=other).update(contact=known)

    erase(acme, other, now, keeps_opt_out=False)  # by the name from before

    assert not Message.objects.exists()
    assert not Contact.objects.exists()
    assert not OptOut.objects.exists()


def test_a_dry_run_counts_what_would_go(acme: Cast, globex: Cast, now: datetime) -> None:
    subscribe(acme)
    known = knows(acme, PHONES[1], now)
    before = everything()

    planned = erase(acme, known, now, is_dry_run=True, keeps_opt_out=False)
    assert everything() == before
    done = erase(acme, known, now, keeps_opt_out=False)

    some = {table: count for table, count in planned.removed.items() if count}
    assert {table: count for table, count in done.removed.items() if count} == some
    assert {"messages", "outgoing_events", "broadcast_recipients"} <= some.keys()


def test_many_messages_go_in_bites(
    acme: Cast, globex: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = knows(acme, PHONES[0], now)
    monkeypatch.setattr(person_erasure, "BATCH", 1)

    done = erase(acme, known, now)

    assert done.removed["messages"] == 3
    assert not Message.objects.exists()


def test_a_receipt_of_a_groups_message_that_comes_meanwhile_goes_too(
    acme: Cast, globex: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = knows(acme, PHONES[0], now)
    (digest, *_) = digester(acme.tenant.id).phones(PHONES[0])

    alone = locks.go_alone

    def go_alone(tenants: list[UUID]) -> None:
        MessageStatus.objects.create(
            tenant_id=acme.tenant.id,
            workspace_id=acme.workspace.id,
            platform_message_id="of a group",
            status="read",
            participant=digest,
            timestamp_utc=now,
        )
        alone(tenants)

    monkeypatch.setattr(person_erasure.locks, "go_alone", go_alone)

    erase(acme, known, now, keeps_opt_out=False)

    assert not found_in(everything(), {digest})


def test_the_receipt_is_signed_and_names_nobody(acme: Cast, globex: Cast, now: datetime) -> None:
    known = knows(acme, PHONES[0], now)
    what = traces(acme, known, PHONES[0]) - {str(known.id)}
    out = StringIO()

    call_command("erase_contact", "acme", f"+{PHONES[0]}", "--yes", "--json", stdout=out)

    (report,) = json.loads(out.getvalue())
    key = Ed25519PublicKey.from_public_bytes(b64decode(report["public_key"]))
    key.verify(b64decode(report["signature"]), report["receipt"].encode())
    with pytest.raises(InvalidSignature):
        key.verify(b64decode(report["signature"]), report["receipt"].encode() + b" ")
    assert person_erasure.public_key(globex.tenant.id) != person_erasure.public_key(acme.tenant.id)
    assert not [one for one in what if one in out.getvalue()]
    said = json.loads(report["receipt"])
    assert (said["contact"], said["removed"]["messages"]) == (str(known.id), 3)
    assert said["raw_until"] == str((now + timedelta(days=30)).date())


@pytest.mark.parametrize("person", ["+15550000000", "x", "0821234567", str(UUID(int=7))])
def test_the_command_refuses_nobody(acme: Cast, globex: Cast, now: datetime, person: str) -> None:
    hear(globex, now, phone="15550000000")

    with pytest.raises(CommandError):
        call_command("erase_contact", "acme", person, "--yes")
    assert not PersonErasure.objects.exists()


def test_both_doors_ask_and_read_what_came_of_it(
    gql: Gql, acme: Cast, globex: Cast, now: datetime
) -> None:
    first, second = knows(acme, PHONES[0], now), knows(acme, PHONES[1], now)
    key = key_with(acme.tenant, Scope.CONTACTS_ERASE)

    payload = gql(key, ERASE, input={"contactId": str(first.id), "keepOptOut": False}).data
    status_code, pending = ask(key, f"/api/v1/contacts/{second.id}/erase", {})
    assert (status_code, pending["ended_at"], pending["receipt"]) == (202, None, None)
    assert payload["eraseContact"]["erasure"]["endedAt"] is None
    assert Message.objects.count() == 6

    assert erasure.erase_people(now=now) == 2
    assert erasure.erase_people(now=now) == 0

    asked = payload["eraseContact"]["erasure"]["id"]
    shown = gql(key, READ, id=asked).data["personErasure"]
    _, done = get(key, f"/api/v1/erasures/{pending['id']}")
    assert json.loads(shown["receipt"])["contact"] == str(first.id)
    assert done["removed"]["messages"] == 3
    assert {"table": "messages", "count": 3} in shown["removed"]
    assert not Message.objects.exists()
    assert Contact.objects.get().id == second.id  # who had stopped marketing
    assert gql(globex, READ, id=asked).data["personErasure"] is None
    assert get(globex, f"/api/v1/erasures/{pending['id']}")[0] == 404


def test_both_doors_refuse(gql: Gql, acme: Cast, globex: Cast, now: datetime) -> None:
    theirs = hear(globex, now).contact_id
    path = f"/api/v1/contacts/{theirs}/erase"

    errors = gql(acme, ERASE, input={"contactId": str(theirs)}).data["eraseContact"]["errors"]
    assert [(one["code"], one["field"]) for one in errors] == [("CONTACT_NOT_FOUND", "contactId")]
    status_code, refused = ask(acme, path, {})
    assert (status_code, refused["error"]["code"]) == (404, "CONTACT_NOT_FOUND")
    assert ask(acme, path, {"dryRun": True})[0] == 400
    some = key_with(acme.tenant, Scope.MESSAGES_SEND, Scope.MESSAGES_READ, Scope.RAW_READ)
    assert ask(some, path, {})[0] == get(some, f"/api/v1/erasures/{uuid4()}")[0] == 403
    assert gql(some, ERASE, input={"contactId": str(theirs)}).codes == ["FORBIDDEN"]
    assert not PersonErasure.objects.exists()


def test_one_that_fails_stays_and_holds_nobody_up(
    acme: Cast, globex: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = hear(acme, now).contact_id, hear(globex, now).contact_id
    for cast, who in ((acme, mine), (globex, theirs)):
        person_erasure.request(tenant_id=cast.tenant.id, contact_id=who, by="test", now=now)
    perform = person_erasure.perform

    def fail(pending: PersonErasure, **more: object) -> PersonErasure:
        if pending.tenant_id == acme.tenant.id:
            raise ValueError
        return perform(pending, **more)

    monkeypatch.setattr(person_erasure, "perform", fail)

    assert erasure.erase_people(now=now) == 1
    assert PersonErasure.objects.get(ended_at=None).tenant_id == acme.tenant.id


def test_each_table_that_names_people_is_erased() -> None:
    places = (
        *person_erasure.OF_MESSAGES,
        *person_erasure.OF_PEOPLE,
        *person_erasure.OF_CONTACTS,
        *erasure.EVENTS_OF_PEOPLE,
    )
    names = {"contact_id", "message_id", "conversation_id", "recipient", "sender"}
    found = {
        model._meta.db_table
        for model in apps.get_models()
        if names & {field.attname for field in model._meta.concrete_fields}
    }
    assert found - {table for table, _ in places} == {"person_erasures"}


def test_the_documents_run(gql: Gql, acme: Cast, globex: Cast, now: datetime) -> None:
    section = PRIVACY.partition("### Erasure of one person")[2].partition("\n## ")[0]
    known = knows(acme, PHONES[0], now)
    document, commands, script = (
        re.search(rf"```{kind}\n(.+?)```", section, re.DOTALL)[1]
        for kind in ("graphql", "sh", "python")
    )
    filled = document.replace("your-contact-uuid", str(known.id))
    assert gql(acme, filled).data["eraseContact"]["success"]
    erasure.erase_people(now=now)
    asked = PersonErasure.objects.get()
    for command in commands.splitlines():
        named = {"$SIGMA": "", "$CONTACT": str(known.id), "$ERASURE": str(asked.id)}
        for name, value in named.items():
            command = command.replace(name, value)
        words = shlex.split(command)
        body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
        status_code, found = ask(acme, words[1], body, "post" if body else "get")
        assert status_code in (200, 202)
    given = {
        "public_key": b64encode(person_erasure.public_key(acme.tenant.id)).decode(),
        "signature": found["signature"],
        "receipt": found["receipt"],
    }
    exec(script, given)  # noqa: S102 - what people paste
