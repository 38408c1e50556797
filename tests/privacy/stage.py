"""Both doors of sending, the simulated Meta behind them, and everything that goes on between."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.test import Client, override_settings

from connectors.events.worker import deliver as deliver_events
from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.server import RunningSimulator
from connectors.simulator.meta.world import SimulatedTemplate, World
from connectors.whatsapp.processing import process_batch
from messaging import number_sync, token_watch
from messaging.delivery.sender import Sender
from messaging.models import Message
from templates_wa.sync import sync
from tests.broadcasts.conftest import turn
from tests.conftest import Cast
from tests.graphql.conftest import Answer
from tests.privacy import sends
from tests.privacy.canaries import SENT_TO, accepted, person, refused, wamid_of
from workspaces import secrets
from workspaces.models import SecretKind

MESSAGES, LOOKUP = "/api/v1/messages", "/api/v1/contacts/lookup"
ASKED = "($input: SendWhatsAppMessageInput!)"
ERRORS = "{ code field message }"
SEND = f"mutation{ASKED} {{ sendWhatsAppMessage(input: $input) {{ success errors {ERRORS} }} }}"
PREFLIGHT = f"query{ASKED} {{ preflightWhatsAppMessage(input: $input) {{ problems {ERRORS} }} }}"
CHANGE = "mutation($input: {}!) {{ {}(input: $input) {{ {} errors {{ code message }} }} }}"
INPUTS = {
    "optOutContact": "PersonInput",
    "optInContact": "PersonInput",
    "syncBusinessNumber": "BusinessNumberInput",
}
BOOKING = [
    {"type": "BODY", "text": "Hello {{1}}!", "example": {"body_text": [["Ana"]]}},
    {"type": "BUTTONS", "buttons": [{"type": "FLOW", "text": "Book", "flow_id": "7"}]},
]


def world_of(cast: Cast, own: int, origin: str) -> World:
    """Return a tenant's business at Meta, which calls it at ``origin``; its number is a canary."""
    token = f"EAAG-{cast.tenant.slug}"
    secrets.add(tenant=cast.tenant, kind=SecretKind.ACCESS_TOKEN, value=token)
    world = business(
        app_secret=cast.app_secret,
        access_token=token,
        waba_id=cast.workspace.waba_id,
        phone_number_id=cast.workspace.external_id,
        verify_token=cast.verify_token,
        callback_url=f"{origin}{cast.path}",
    )
    (account,) = world.accounts
    account.numbers[0].display_phone_number = f"+44 {SENT_TO[:4]} {SENT_TO[4:]}{own}"
    flow = SimulatedTemplate(
        id=f"70{own}", name="booking", language="en", category="UTILITY", components=BOOKING
    )
    account.templates.append(flow)
    return world


class Stage:
    """What is done on behalf of tenants; each step asserts that it was taken in, or refused."""

    def __init__(
        self, meta: RunningSimulator, sender: Sender, wait_for: Callable[..., None]
    ) -> None:
        self.meta, self.sender, self.wait_for = meta, sender, wait_for
        # One for all: each reads the static files anew.
        self.client = Client()

    def ask(self, cast: Cast, path: str, body: object = None, **more: Any) -> Any:
        """Post to the REST door."""
        headers = {"Authorization": f"Bearer {cast.api_key}"}
        given = {"data": json.dumps(body or {}), "content_type": "application/json", **more}
        return self.client.post(path, headers=headers, **given)

    def gql(self, cast: Cast, query: str, **variables: object) -> Answer:
        """Ask through GraphQL."""
        answer = self.ask(cast, "/graphql", {"query": query, "variables": variables})
        return Answer(answer.status_code, answer.json())

    def change(self, cast: Cast, name: str, returning: str = "success", /, **given: object) -> Any:
        """Make a change through GraphQL; return its payload."""
        kind = INPUTS.get(name, f"{name[0].upper()}{name[1:]}Input")
        answer = self.gql(cast, CHANGE.format(kind, name, returning), input=given)
        assert not answer.data[name]["errors"], answer.body
        return answer.data[name]

    def prepare(self, cast: Cast) -> None:
        """Learn templates, number and token, let people write, opt one out, list test people."""
        number, now = {"workspaceId": str(cast.workspace.id)}, datetime.now(UTC)
        self.change(cast, "syncBusinessNumber", **number)
        sync(cast.workspace, now=now)
        number_sync.sync_due(now=now)
        token_watch.watch(now=now)
        for one in range(2, 7):
            writer, to = person(one), cast.workspace.external_id
            self.meta.control.inbound(writer, "Hello", phone_number_id=to)
        for name in ("optOutContact", "optInContact", "optOutContact"):
            self.change(cast, name, phone=f"+{person(7)}")
        for phones in ([f"+{person(one)}" for one in range(5)], []):
            self.change(cast, "setTestRecipients", **number, phones=phones)

    def spoil(self) -> None:
        """Let Meta fail in words that hold numbers, and leave requests without an answer."""
        told = f"Recipient {accepted(person(2))[3]} of {wamid_of(person(2))} is not there"
        for preset, one in (("error", 2), ("failed", 3), ("hang", 4), ("close_after", 5)):
            self.meta.control.rule(
                preset, code=131026, details=told, recipient=person(one), count=1
            )

    def send(self, cast: Cast, *, by_graphql: bool) -> None:
        """Send one of everything, mark one as read, cancel one."""
        for given in (*sends.templates(), *sends.contents()):
            wanted = {"workspace_id": str(cast.workspace.id), **given}
            if by_graphql:
                words = sends.for_graphql(wanted)
                payload = self.gql(cast, SEND, input=words).data["sendWhatsAppMessage"]
                assert payload["success"], (given, payload)
            else:
                answer = self.ask(cast, MESSAGES, wanted)
                assert answer.status_code == 201, (given, answer.content)
        heard = Message.objects.filter(tenant_id=cast.tenant.id, direction="INBOUND")[0]
        self.ask(cast, f"{MESSAGES}/{heard.id}/read", {"typing": True})
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        wanted = sends.welcome(f"+{person(6)}", scheduled_at=later, idempotency_key=person(6))
        queued = self.ask(cast, MESSAGES, {**wanted, "workspace_id": str(cast.workspace.id)})
        path = f"{MESSAGES}/{queued.json()['message_id']}/cancel"
        assert self.ask(cast, path).json()["status"] == "cancelled"

    def refuse(self, cast: Cast, *, by_graphql: bool) -> None:
        """Ask for what must be refused, and for what is no request at all."""
        for number, given in enumerate(sends.refusals()):
            wanted = {"workspace_id": str(cast.workspace.id), **given}
            if not by_graphql:
                assert 400 <= self.ask(cast, MESSAGES, wanted).status_code < 500, given
            elif number % 2:
                body = self.gql(cast, SEND, input=sends.for_graphql(wanted)).body
                assert "errors" in body or body["data"]["sendWhatsAppMessage"]["errors"], given
        for spelling in refused(person(7))[by_graphql::3]:
            self.gql(cast, SEND, input=spelling)
            self.gql(cast, f'{{ messages(senderPhone: "{spelling}") {{ n{spelling} }}')
            self.ask(cast, MESSAGES, data=f'{{"text": "{spelling}')
            self.ask(cast, f"{MESSAGES}/{spelling}/cancel")
            self.ask(cast, LOOKUP, {"phone": spelling})
        self.look_up(cast, person(7))

    def look_up(self, cast: Cast, number: str) -> None:
        """Ask who has a number, of more than may be asked."""
        asks = f'{{ contact(phone: "+{number}") {{ displayName }} }}'
        with override_settings(SIGMA_LOOKUP_RATE=1):
            told = [self.gql(cast, asks).body, self.ask(cast, LOOKUP, {"phone": f"+{number}"})]
        assert number not in f"{told[0]}{told[1].content!r}"

    def preflight(self, cast: Cast, *, by_graphql: bool) -> None:
        """Ask what would become of templates, and of some that must be refused."""
        for given in (*sends.templates(), *list(sends.refusals())[:3]):
            wanted = {"workspace_id": str(cast.workspace.id), **given}
            if by_graphql:
                assert self.gql(cast, PREFLIGHT, input=sends.for_graphql(wanted)).data
            else:
                answer = self.ask(cast, f"{MESSAGES}/preflight", wanted)
                assert answer.status_code in (200, 400), answer.content

    def broadcast(self, cast: Cast) -> str:
        """Start to send to a list; return the path of the broadcast."""
        workspace = str(cast.workspace.id)
        made = self.change(
            cast,
            "createBroadcast",
            "broadcast { id }",
            workspaceId=workspace,
            name="Spring",
            templateName="welcome_message",
            language="en",
        )
        broadcast = made["broadcast"]["id"]
        path = f"/api/v1/broadcasts/{broadcast}"
        rows = {"data": sends.people(7), "content_type": "text/csv"}
        assert self.ask(cast, f"{path}/recipients", **rows).status_code == 422
        taken = self.ask(cast, f"{path}/recipients?skip_invalid=true", **rows)
        assert taken.json()["problem_count"] == 2, taken.content
        row = {
            "phone": f"+{person(9)}",
            "reference": sends.OTHER,
            "templateParameters": {"namedParams": [{"name": f"p{sends.OTHER}", "value": "x"}]},
        }
        self.change(cast, "addBroadcastRecipients", id=broadcast, recipients=[row])
        self.change(cast, "startBroadcast", id=broadcast, skipInvalid=True)
        return path

    def outcomes(self, cast: Cast, path: str) -> str:
        """Return what became of a broadcast's rows."""
        headers = {"Authorization": f"Bearer {cast.api_key}"}
        return self.client.get(f"{path}/outcomes.csv", headers=headers).getvalue().decode()

    def perform(self) -> None:
        """Send what is pending, and take in what Meta tells of it."""
        turn(datetime.now(UTC))
        self.sender.work()
        self.sender.settle()
        self.wait_for(lambda: not self._is_telling())
        while process_batch(100):
            pass

    def tell(self) -> None:
        """Tell the tenants' apps what happened."""
        deliver_events(clock=lambda: datetime.now(UTC) + timedelta(seconds=1), idle_wait=0)

    def _is_telling(self) -> bool:
        state = self.meta.control.state()
        return bool(state["scheduled"] or state["waiting"])
