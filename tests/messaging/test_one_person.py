"""Whatever becomes known of people, in any order and cut, comes to what a simple model says.

``SIGMA_LONG_TESTS=1`` plays many and long stories; the suite plays a few.
"""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.whatsapp.processing import process_batch
from messaging import consent
from messaging.broadcasts import audience, lifecycle
from messaging.models import Contact, ContactIdentity, Conversation, Message
from tests.broadcasts.conftest import turn
from tests.conftest import Cast
from tests.messaging.test_merging import markets, second_number
from tests.sending.conftest import template
from tests.whatsapp.deliveries import callback, deliver, status
from workspaces import keys
from workspaces.access import Actor
from workspaces.identity import digester
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db
LONG = bool(os.environ.get("SIGMA_LONG_TESTS"))

# Each person has two numbers, one after the other, in every way to write them.
NUMBERS = (
    (("553188813001", "5531988813001"), ("15550100001",)),
    (("525512345678", "5215512345678"), ("541123456789", "5491123456789")),
    (("15550200002",), ("15550300003",)),
)
SHARER = 2  # shares the number on request, and keeps it: with another one a card says nothing new
OWN = "15550100009"
START = int(datetime.now(UTC).timestamp()) - 10_000

Identity = tuple[Hashable, ...]


def bsuid(person: int, life: int, number: int) -> str:
    """Return a person's user id: one per portfolio, and another with another number."""
    return f"US.{person}{life}{number}7550000"


@dataclass(frozen=True)
class Story:
    """Something that happens: what is told, of whom (by which identities), through which number."""

    kind: str
    person: int
    life: int
    number: int
    by: str
    spelling: int
    word: str
    at: int
    cut: bool

    @property
    def phone(self) -> str:
        spellings = NUMBERS[self.person][self.life]
        return spellings[self.spelling % len(spellings)]

    @property
    def user(self) -> str:
        return bsuid(self.person, self.life, self.number)

    @property
    def keys(self) -> list[Identity]:
        """The identities that are told together."""
        phone, user = ("phone", self.person, self.life), ("user", self.user)
        if self.kind == "change":
            if self.by == "phone":
                return [("phone", self.person, 0), ("phone", self.person, 1)]
            return [("user", bsuid(self.person, life, self.number)) for life in (0, 1)]
        if self.kind in ("receipt", "card"):
            return [phone, user]
        if self.kind in ("opt-out", "opt-in"):
            return [phone]
        return {"phone": [phone], "user": [user], "both": [phone, user]}[self.by]

    def who(self, phone_key: str, user_key: str) -> dict[str, str]:
        """Return the identities under the names that a callback has for them."""
        names = {phone_key: self.phone, user_key: self.user}
        left_out = {"phone": user_key, "user": phone_key}.get(self.by)
        return {key: value for key, value in names.items() if key != left_out}


STORIES = (
    st.builds(
        Story,
        kind=st.sampled_from(
            (
                "says",
                "says",
                "says",
                "echo",
                "history",
                "receipt",
                "card",
                "change",
                "change",
                "opt-out",
                "opt-in",
            )
        ),
        person=st.integers(0, len(NUMBERS) - 1),
        life=st.integers(0, 1),
        number=st.integers(0, 1),
        by=st.sampled_from(("phone", "user", "both")),
        spelling=st.integers(0, 1),
        word=st.sampled_from(("Hello", "STOP", "START")),
        at=st.integers(0, 20),
        cut=st.booleans(),
    )
    .filter(lambda s: s.person != SHARER or (s.life == 0 and s.kind != "change"))
    .filter(lambda s: s.kind != "card" or s.person == SHARER)
)


@dataclass
class Model:
    """What must come out: sets of identities, threads, and the last wish of each."""

    parents: dict[Identity, Identity] = field(default_factory=dict)
    threads: set[tuple[Identity, int]] = field(default_factory=set)
    unread: dict[tuple[Identity, int], int] = field(default_factory=lambda: defaultdict(int))
    answers: list[tuple[Identity, int, bool]] = field(default_factory=list)

    def find(self, key: Identity) -> Identity:
        while self.parents.setdefault(key, key) != key:
            key = self.parents[key]
        return key

    def tell(self, story: Story, order: int) -> None:
        first, *others = story.keys
        if story.kind == "opt-in" and first not in self.parents:
            return  # nobody is known by this number
        for other in others:
            self.parents[self.find(other)] = self.find(first)
        self.find(first)
        # Of a card and its message the latter names the user id only.
        said = ("user", story.user) if story.kind == "card" else first
        if story.kind in ("says", "echo", "history", "card"):
            self.threads.add((said, story.number))
            self.unread[said, story.number] += story.kind in ("says", "card")
        if story.kind == "says" and story.word != "Hello":
            self.answers.append((first, story.at, story.word == "STOP"))
        if story.kind.startswith("opt"):
            self.answers.append((first, 10**6 + order, story.kind == "opt-out"))

    def people(self) -> dict[Identity, set[Identity]]:
        found: dict[Identity, set[Identity]] = defaultdict(set)
        for key in list(self.parents):
            found[self.find(key)].add(key)
        return found

    def stopped(self, person: Identity) -> bool:
        said = [(at, stop) for key, at, stop in self.answers if self.find(key) == person]
        return max(said, default=(0, False))[1]


def value_of(story: Story) -> dict[str, Any]:
    """Return what a callback says of a story."""
    base = {
        "id": f"wamid.{uuid.uuid4()}",
        "timestamp": str(START + story.at),
        "type": "text",
        "text": {"body": story.word},
    }
    inbound = base | story.who("from", "from_user_id")
    if story.kind == "says":
        return {"messages": [inbound]}
    if story.kind == "echo":
        return {"message_echoes": [base | {"from": OWN} | story.who("to", "to_user_id")]}
    if story.kind == "history":
        chat = story.user if story.by == "user" else story.phone
        return {"history": [{"threads": [{"id": chat, "messages": [inbound]}]}]}
    if story.kind == "receipt":
        who = {"recipient_id": story.phone, "recipient_user_id": story.user}
        return {"statuses": [status(f"wamid.{uuid.uuid4()}", "sent", START + story.at, **who)]}
    if story.kind == "card":
        card = {"origin": "contact_request", "phones": [{"wa_id": story.phone}]}
        del base["text"]
        said = {"type": "contacts", "contacts": [card], "from_user_id": story.user}
        return {"messages": [base | said]}
    return {"messages": [{**base, "type": "system", **change_of(story)}]}


def change_of(story: Story) -> dict[str, Any]:
    """Return a change of number, or of user id."""
    before, after = (
        spellings[story.spelling % len(spellings)] for spellings in NUMBERS[story.person]
    )
    if story.by == "phone":
        return {"from": before, "system": {"type": "user_changed_number", "wa_id": after}}
    old, new = (bsuid(story.person, life, story.number) for life in (0, 1))
    system = {"type": "user_changed_user_id", "user_id": new, "previous_user_id": old}
    return {"from_user_id": old, "system": system}


FIELDS = {"echo": "smb_message_echoes", "history": "history"}


def play(cast: Cast, numbers: list[Workspace], stories: list[Story]) -> Model:
    """Tell stories to the product and to the model."""
    model = Model()
    for order, story in enumerate(stories):
        if story.kind.startswith("opt"):
            while process_batch(100):
                pass
            act = consent.opt_out if story.kind == "opt-out" else consent.opt_in
            somebody = Actor(cast.tenant.id, frozenset(), "test", f"test:{uuid.uuid4()}")
            try:
                act(somebody, f"+{story.phone}")
            except consent.UnableToChangeConsent as error:
                assert error.code == "CONTACT_NOT_FOUND"
        else:
            number = numbers[story.number].external_id
            body = callback(number, field=FIELDS.get(story.kind, "messages"), **value_of(story))
            body["entry"][0]["changes"][0]["value"]["metadata"]["display_phone_number"] = OWN
            deliver(cast.tenant.id, body)
            if story.cut:
                process_batch(100)
        model.tell(story, order)
    while process_batch(100):
        pass
    return model


def digest_of(cast: Cast, key: Identity) -> str:
    """Return the digest of an identity."""
    digest = digester(cast.tenant.id)
    if key[0] == "user":
        return digest.user(str(key[1]))
    return digest.phone(NUMBERS[int(str(key[1]))][int(str(key[2]))][0])


def check_people(cast: Cast, model: Model) -> dict[Identity, uuid.UUID]:
    """Contacts are the sets of the model; return whose is whose."""
    found = {}
    for person, identities in model.people().items():
        digests = [digest_of(cast, key) for key in identities]
        rows = ContactIdentity.objects.filter(tenant_id=cast.tenant.id, digest__in=digests)
        (found[person],) = set(rows.values_list("contact_id", flat=True))
        assert rows.count() == len(digests)
    alive = Contact.objects.filter(tenant_id=cast.tenant.id, merged_into=None)
    assert set(alive.values_list("id", flat=True)) == set(found.values())
    return found


def check_threads(
    cast: Cast, model: Model, numbers: list[Workspace], contacts: dict[Identity, uuid.UUID]
) -> None:
    """There is one thread per person and number, with what is unread there."""
    expected: dict[tuple[uuid.UUID, uuid.UUID], int] = defaultdict(int)
    for key, number in model.threads:
        place = numbers[number].id, contacts[model.find(key)]
        expected[place] += model.unread[key, number]
    rows = Conversation.objects.filter(tenant_id=cast.tenant.id, merged_into=None)
    found = {(row.workspace_id, row.contact_id): row.unread_count for row in rows}
    assert found == dict(expected)


def check_marketing(cast: Cast, model: Model) -> None:
    """Whoever said STOP last is stopped under every identity; nobody else is."""
    for person, identities in model.people().items():
        expected = 422 if model.stopped(person) else 201
        for key in identities:
            if key[0] == "user":
                assert markets(cast, recipient_user_id=str(key[1])) == expected, key
            else:
                for phone in NUMBERS[int(str(key[1]))][int(str(key[2]))]:
                    assert markets(cast, recipient_phone=f"+{phone}") == expected, key


def check_broadcast(cast: Cast, model: Model, now: datetime) -> None:
    """A broadcast to every identity reaches each person once, unless they are stopped."""
    if not model.parents:
        return
    broadcast = lifecycle.create(
        tenant_id=cast.tenant.id,
        workspace_id=cast.workspace.id,
        name="All",
        template_name="welcome_message",
        now=now,
    )
    rows = ["phone,user_id,1"]
    for kind, *key in model.parents:
        phone = f"+{NUMBERS[key[0]][key[1]][-1]}" if kind == "phone" else ""
        rows.append(f"{phone},{'' if phone else key[0]},x")
    ids = {"tenant_id": cast.tenant.id, "broadcast_id": broadcast.id}
    audience.replace(**ids, content="\n".join(rows).encode())
    lifecycle.start(**ids, now=now)
    turn(now)
    broadcast.refresh_from_db()
    reached = Message.objects.filter(broadcast_id=broadcast.id)
    wanted = [person for person in model.people() if not model.stopped(person)]
    assert reached.count() == len(wanted), broadcast.reason
    assert reached.values("contact_id").distinct().count() == len(wanted)


@given(stories=st.lists(STORIES, min_size=1, max_size=30 if LONG else 12))
@settings(
    max_examples=400 if LONG else 10,
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
def test_people_are_who_a_model_says_in_any_order_and_cut(
    acme: Cast, globex: Cast, now: datetime, no_wake_ups: object, stories: list[Story]
) -> None:
    try:
        with transaction.atomic():
            for cast in (acme, globex):
                template(cast)
            numbers = [acme.workspace, second_number(acme)]
            play(
                globex,
                [globex.workspace, globex.workspace],
                [Story("says", 0, 0, 0, "both", 0, "Hello", 0, cut=True)],
            )
            model = play(acme, numbers, stories)
            contacts = check_people(acme, model)
            check_threads(acme, model, numbers, contacts)
            check_broadcast(acme, model, now)
            check_marketing(acme, model)
            assert Contact.objects.filter(tenant_id=globex.tenant.id).count() == 1
            assert markets(globex, recipient_phone=f"+{NUMBERS[0][0][0]}") == 201
            transaction.set_rollback(True)
    finally:
        keys.forget()  # those made in the story are gone with it
