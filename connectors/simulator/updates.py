"""One update of each kind, from people of a small town who write to one business."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from random import Random

from connectors.simulator.people import SimulatedPerson, population, sent_wamid, wamid
from connectors.simulator.shapes import (
    AMENDMENT_TYPES,
    AMENDMENTS,
    BODIES,
    MESSAGE_KINDS,
    PRESSED,
    Json,
    sentence,
)

STEPS = ("sent", "delivered", "read")
ERROR = {
    "code": 131026,
    "title": "Message undeliverable",
    "message": "Message undeliverable",
    "error_data": {"details": "Message Undeliverable."},
    "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
}


@dataclass(frozen=True, slots=True)
class Business:
    """The number that is written to."""

    waba_id: str
    phone_number_id: str
    display_phone_number: str = "15550100123"


@dataclass(frozen=True, slots=True)
class SimulatedUpdate:
    """One update and where it stands: ``section`` is the list inside ``value``, ``""`` for none.

    ``wamid`` (with ``status``, for receipts) names the row that it must become, once, however often
    it arrives; both are empty for updates that become none. ``number`` is the receiving phone
    number id, empty for account-level fields.
    """

    kind: str
    field: str
    section: str
    item: Json = attribute(repr=False)
    number: str = ""
    contact: Json | None = attribute(default=None, repr=False)
    wamid: str = ""
    status: str = ""
    participant: str = ""
    is_foreign: bool = False

    def misdirected(self, number: str) -> SimulatedUpdate:
        """Return the same update for a number that the tenant does not own: it becomes no row."""
        return replace(self, number=number, wamid="", status="", is_foreign=True)


class Town:
    """Make updates; everything follows from ``rng`` and ``now`` (Unix seconds)."""

    def __init__(self, rng: Random, business: Business, *, now: int, people: int = 500) -> None:
        self._rng, self._business, self._now = rng, business, now
        self._people = population(rng, size=people)
        self._heard: deque[str] = deque(maxlen=200)
        self._underway: deque[tuple[str, SimulatedPerson, int]] = deque(maxlen=200)

    def update(self, kind: str) -> SimulatedUpdate:
        """Return a fresh update of one of ``KINDS``."""
        maker = SPECIAL.get(kind)
        return maker(self) if maker else self._message(kind)

    def _message(self, kind: str) -> SimulatedUpdate:
        rng, person = self._rng, self._rng.choice(self._people)
        item = self._heading(person, self._wamid(person))
        if kind in AMENDMENTS:
            target = rng.choice(self._heard) if self._heard else self._wamid(person)
            item |= {"type": AMENDMENT_TYPES.get(kind, kind)} | AMENDMENTS[kind](rng, target)
        else:
            wire_type, body = BODIES[kind]
            context = self._pressed(person) if wire_type in PRESSED else self._context()
            item |= {"type": wire_type} | context | body(rng)
            self._heard.append(str(item["id"]))
        # Meta sends no contacts beside these two.
        contact = None if kind in ("system", "unsupported") else person.contact()
        return self._of_number(kind, "messages", item, contact=contact, wamid_=item["id"])

    def _heading(self, person: SimulatedPerson, message_id: str) -> Json:
        return {
            **person.named("from", "from_user_id"),
            "id": message_id,
            "timestamp": self._moment(),
        }

    def _context(self) -> Json:
        chance = self._rng.random()
        if chance < 0.1 and self._heard:
            sender = self._business.display_phone_number
            return {"context": {"from": sender, "id": self._rng.choice(self._heard)}}
        if chance < 0.12:
            return {"context": {"forwarded": True}}
        if chance < 0.14:
            return {
                "referral": {
                    "source_url": "https://fb.me/example",
                    "source_id": "120208",
                    "source_type": "ad",
                    "headline": "Spring sale",
                    "ctwa_clid": self._rng.randbytes(12).hex(),
                }
            }
        return {}

    def _pressed(self, person: SimulatedPerson) -> Json:
        """Return the context of a press: the message of the business that had the button."""
        sender = self._business.display_phone_number
        return {"context": {"from": sender, "id": sent_wamid(self._rng, person.phone or "0")}}

    def _receipt(self) -> SimulatedUpdate:
        """Return the next receipt of a message underway, in order most of the time."""
        rng = self._rng
        if not self._underway or rng.random() < 0.4:
            person = rng.choice(self._people)
            self._underway.append((self._wamid(person), person, 0))
        position = rng.randrange(len(self._underway))
        message_id, person, step = self._underway[position]
        del self._underway[position]
        if step == 0 and rng.random() < 0.04:
            item = self._status(message_id, person, "failed") | {"errors": [ERROR]}
            return self._of_number("status", "statuses", item, wamid_=message_id, status="failed")
        if step < len(STEPS) - 1:
            self._underway.append((message_id, person, step + 1))
        item = self._status(message_id, person, STEPS[step])
        if step < 2:
            item["pricing"] = {
                "billable": True,
                "pricing_model": "PMP",
                "type": "regular",
                "category": "utility",
            }
        return self._of_number(
            "status",
            "statuses",
            item,
            contact=person.contact(),
            wamid_=message_id,
            status=STEPS[step],
        )

    def _status(self, message_id: str, person: SimulatedPerson, status: str) -> Json:
        who = person.named("recipient_id", "recipient_user_id")
        return {"id": message_id, "status": status, "timestamp": self._moment(), **who}

    def _group_receipt(self) -> SimulatedUpdate:
        """Return one person's receipt of a group message; all of them share one id."""
        person = self._rng.choice(self._people)
        item = self._status(f"wamid.GROUP{self._rng.randrange(5)}", person, "delivered")
        item["recipient_type"] = "group"
        item["recipient_id"] = "Y2FwaV9ncm91cDox"
        item["recipient_participant_user_id"] = person.user_id
        return self._of_number(
            "group_receipt",
            "statuses",
            item,
            wamid_=item["id"],
            status="delivered",
            participant=person.user_id,
        )

    def _echo(self) -> SimulatedUpdate:
        person = self._rng.choice(self._people)
        message_id = self._wamid(person)
        self._underway.append((message_id, person, 0))
        item = {
            "from": self._business.display_phone_number,
            **person.named("to", "to_user_id"),
            "id": message_id,
            "timestamp": self._moment(),
            "type": "text",
            "text": {"body": sentence(self._rng)},
        }
        return self._of_number(
            "echo", "message_echoes", item, field_="smb_message_echoes", wamid_=message_id
        )

    def _history(self) -> SimulatedUpdate:
        person = self._rng.choice(self._people)
        message_id = self._wamid(person)
        message = self._heading(person, message_id) | {
            "type": "text",
            "text": {"body": sentence(self._rng)},
            "history_context": {"status": "READ"},
        }
        thread = {"id": person.phone or person.user_id, "messages": [message]}
        chunk = {"phase": 1, "chunk_order": 1, "progress": 55}
        return self._of_number(
            "history",
            "history",
            {"metadata": chunk, "threads": [thread]},
            field_="history",
            wamid_=message_id,
        )

    def _call(self) -> SimulatedUpdate:
        person = self._rng.choice(self._people)
        item = {
            **person.named("from", "from_user_id"),
            "id": f"wacid.{self._rng.randbytes(12).hex()}",
            "event": "terminate",
            "status": "COMPLETED",
            "timestamp": self._moment(),
        }
        return self._of_number("call", "calls", item, field_="calls")

    def _preference(self) -> SimulatedUpdate:
        person = self._rng.choice(self._people)
        item = {
            **person.named("wa_id", "user_id"),
            "detail": "User requested to stop",
            "category": "marketing_messages",
            "value": "stop",
            "timestamp": int(self._moment()),
        }
        return self._of_number("preference", "user_preferences", item, field_="user_preferences")

    def _template(self) -> SimulatedUpdate:
        value: Json = {
            "event": self._rng.choice(("APPROVED", "PAUSED", "REJECTED")),
            # Above 2^53 on purpose: it must be kept as text.
            "message_template_id": 9_007_199_254_740_993 + self._rng.randrange(10**6),
            "message_template_name": "welcome_message",
            "message_template_language": "en_US",
            "reason": "NONE",
        }
        return SimulatedUpdate("template", "message_template_status_update", "", value)

    def _quality(self) -> SimulatedUpdate:
        value: Json = {
            "display_phone_number": self._business.display_phone_number,
            "event": "THROUGHPUT_UPGRADE",
            "max_daily_conversations_per_business": "TIER_UNLIMITED",
        }
        return SimulatedUpdate("quality", "phone_number_quality_update", "", value)

    def _of_number(
        self,
        kind: str,
        section: str,
        item: Json,
        *,
        field_: str = "messages",
        contact: Json | None = None,
        wamid_: object = "",
        status: str = "",
        participant: str = "",
    ) -> SimulatedUpdate:
        return SimulatedUpdate(
            kind,
            field_,
            section,
            item,
            number=self._business.phone_number_id,
            contact=contact,
            wamid=str(wamid_),
            status=status,
            participant=participant,
        )

    def _wamid(self, person: SimulatedPerson) -> str:
        return wamid(self._rng, person.phone or self._business.display_phone_number)

    def _moment(self) -> str:
        return str(self._now - self._rng.randrange(300))


SPECIAL: dict[str, Callable[[Town], SimulatedUpdate]] = {
    "status": Town._receipt,
    "group_receipt": Town._group_receipt,
    "echo": Town._echo,
    "history": Town._history,
    "call": Town._call,
    "preference": Town._preference,
    "template": Town._template,
    "quality": Town._quality,
}
KINDS = (*MESSAGE_KINDS, *SPECIAL)
