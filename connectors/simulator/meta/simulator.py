"""The simulated Meta: one world, its time, what it remembers, what it sends.

Everything runs on the thread of one event loop; nothing here waits.
"""

from __future__ import annotations

from functools import partial
from random import Random

import msgspec

from connectors.simulator.meta import inbound, statuses
from connectors.simulator.meta.callbacks import Emitter, MetaUpdate
from connectors.simulator.meta.clock import Agenda, Clock
from connectors.simulator.meta.journal import Journal
from connectors.simulator.meta.limits import RateLimits
from connectors.simulator.meta.mediastore import ExampleHandle, ExampleSession, MediaStore
from connectors.simulator.meta.plans import FaultRules, Plan
from connectors.simulator.meta.recipients import GraphRecipient
from connectors.simulator.meta.statuses import AcceptedMessage, StatusStep
from connectors.simulator.meta.world import BusinessAccount, Json, PhoneNumber, Registry, World

SERVICE_WINDOW = 24 * 3600.0
# Every other field goes to the app's own address, whatever is overridden.
HONOUR_OVERRIDES = frozenset({"messages", "account_settings_update", "history", "calls"})


MOST_WRITTEN = 100_000


class NoSuchNumber(Exception):
    """The simulator has no such phone number ID."""


class Simulator:
    """Everything that there is; ``world`` is copied, so that :meth:`reset` can go back to it."""

    def __init__(self, world: World) -> None:
        self._start = msgspec.json.encode(world)
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.journal = Journal()
        self.rules = FaultRules()
        # Not from the seed: another run's messages must not have the same ids.
        self.rng = Random()  # noqa: S311
        self._begin(msgspec.json.decode(self._start, type=World))

    def _begin(self, world: World) -> None:
        self.registry = Registry(world)
        self.options = world.options
        self.emitter = Emitter(self.clock, self.agenda, self.options)
        self.limits = RateLimits()
        self.media = MediaStore(self.rng)
        # Files that templates take their examples from: on their way, and whole.
        self.example_sessions: dict[str, ExampleSession] = {}
        self.example_handles: dict[str, ExampleHandle] = {}
        # When somebody last wrote to a number: (phone number id, digits or user id).
        self.last_inbound: dict[tuple[str, str], float] = {}
        # What people wrote, (phone number id, wamid), the newest last: what can be marked as read.
        self._written: dict[tuple[str, str], None] = {}
        # The newest message that a number sent to somebody, which their next press answers.
        self.answerable: dict[tuple[str, str], str] = {}

    def reset(self, world: World | None = None) -> None:
        """Forget everything that happened; ``world`` becomes what it starts from."""
        if world is not None:
            self._start = msgspec.json.encode(world)
        self.agenda.clear()
        self.clock.advanced = 0.0
        self.journal.clear()
        self.rules.remove(None)
        self.emitter.clear()
        self._begin(msgspec.json.decode(self._start, type=World))

    def keep(self) -> None:
        """Make the world as it is now what :meth:`reset` goes back to."""
        self._start = msgspec.json.encode(self.registry.world)

    def advance(self, seconds: float) -> None:
        """Move time on, and do what falls due."""
        self.clock.advance(seconds)
        self.agenda.run()

    def is_window_open(self, phone_number_id: str, who: str) -> bool:
        """Whether ``who`` wrote to the number within the last 24 hours."""
        since = self.last_inbound.get((phone_number_id, who))
        return since is not None and self.clock.now() - since < SERVICE_WINDOW

    def has_written(self, phone_number_id: str, wamid: str) -> bool:
        """Whether a person wrote this message to the number (of the newest `MOST_WRITTEN`)."""
        return (phone_number_id, wamid) in self._written

    def play(self, message: AcceptedMessage, plan: Plan) -> None:
        """Let an accepted message live its life."""
        self.answerable[message.phone_number_id, message.recipient.key] = message.wamid
        for step in statuses.steps(plan, self.options):
            self.agenda.at(message.time + step.after, partial(self._reach, message, step))

    def write(self, phone_number_id: str, person: GraphRecipient, content: Json) -> str:
        """Let a person write to a number, which opens the window; return the message's id.

        No callback is sent where the number has blocked the person.

        Raises:
            NoSuchNumber: see there.
        """
        account, number = self._number(phone_number_id)
        now = self.clock.now()
        pressed = self.answerable.get((phone_number_id, person.key), "")
        item, contact = inbound.message(
            self.rng, person, content, now=int(now), business=number.digits, pressed=pressed
        )
        wamid = str(item["id"])
        if person.key in number.blocked:
            return wamid
        self.last_inbound[phone_number_id, person.key] = now
        self._written[phone_number_id, wamid] = None
        if len(self._written) > MOST_WRITTEN:
            del self._written[next(iter(self._written))]
        self.emit_for_number(account, number, "messages", item, contact=contact, key=wamid)
        return wamid

    def emit_for_number(
        self,
        account: BusinessAccount,
        number: PhoneNumber,
        section: str,
        item: Json,
        *,
        key: str,
        contact: Json | None = None,
    ) -> None:
        """Send an update about a number's messages."""
        metadata: Json = {
            "display_phone_number": number.digits,
            "phone_number_id": number.id,
        }
        update = MetaUpdate(account.id, "messages", item, section, metadata, contact)
        self.emitter.emit(update, key, self.destinations(account, "messages", number))

    def emit_for_account(self, account: BusinessAccount, field: str, value: Json) -> None:
        """Send an update about an account, such as the status of a template."""
        now = self.clock.now()
        update = MetaUpdate(account.id, field, value, time=int(now))
        key = f"{field}:{self.emitter.updates}"
        self.emitter.emit(update, key, self.destinations(account, field))

    def destinations(
        self, account: BusinessAccount, field: str, number: PhoneNumber | None = None
    ) -> list[tuple[str, str]]:
        """Return where updates go, each address with its app's secret."""
        found = []
        for subscription in account.subscriptions:
            app = self.registry.apps.get(subscription.app_id)
            if app is None:
                continue
            url = app.callback_url
            if field in HONOUR_OVERRIDES:
                url = (number and number.callback_url) or subscription.callback_url or url
            found.append((url, app.secret))
        return found

    def _number(self, phone_number_id: str) -> tuple[BusinessAccount, PhoneNumber]:
        found = self.registry.numbers.get(phone_number_id)
        if found is None:
            raise NoSuchNumber(f"There is no phone number ID {phone_number_id!r} here.")
        return found

    def _reach(self, message: AcceptedMessage, step: StatusStep) -> None:
        found = self.registry.numbers.get(message.phone_number_id)
        if found is None:
            return
        account, number = found
        self.emit_for_number(
            account,
            number,
            "statuses",
            statuses.item(message, step),
            contact=statuses.contact(message, step),
            key=f"{message.n}:{step.status}",
        )
        if step.status == "read" and self.options.auto_reply and not message.recipient.group_id:
            reply: Json = {"type": "text", "text": {"body": self.options.auto_reply}}
            self.write(number.id, message.recipient, reply)
