"""``POST /<PHONE_NUMBER_ID>/messages``: accepted, refused, or wrong on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from connectors.simulator.meta import bodies, template_checks
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import SUCCESS, Conduct, GraphCall, HttpAnswer, answer
from connectors.simulator.meta.journal import JournalEntry
from connectors.simulator.meta.plans import ORDINARY, Plan, Preset, magic_of
from connectors.simulator.meta.recipients import GraphRecipient, person, recipient_of
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.statuses import AcceptedMessage
from connectors.simulator.meta.world import BusinessAccount, Json, PhoneNumber, SimulatedTemplate
from connectors.simulator.people import sent_wamid

SLOW_SECONDS = 5.0
BARE = b"<html><body>Sorry, something went wrong.</body></html>"
HTML = b"text/html; charset=utf-8"
OUTSIDE_WINDOW = (
    "Message failed to send because more than 24 hours have passed since the customer last replied "
    "to this number."
)


def post_message(sim: Simulator, call: GraphCall) -> HttpAnswer:
    """Take a message, a read mark or a typing indicator; every request enters the journal.

    Raises:
        GraphError: the refusal.
    """
    account, number, body = call.account, call.number, call.document
    entry = sim.journal.open(time=sim.clock.now(), phone_number_id=number.id)
    _describe(entry, body)
    try:
        if body.get("status") is not None:
            return _mark_read(sim, number, entry, body)
        return _Post(sim, account, number, entry, body).answer()
    except GraphError as error:
        entry.outcome, entry.code = "error", error.code
        raise


def _describe(entry: JournalEntry, body: Json) -> None:
    """Note what the request is about, before anything can be wrong with it."""
    template = body.get("template")
    entry.to = str(body.get("to") or body.get("recipient") or "")
    entry.type = str(body.get("type") or "text")
    entry.template = str(template.get("name", "")) if isinstance(template, dict) else ""
    entry.files = [f"{kind}:{file.get('id') or file.get('link')}" for kind, file in _files(body)]
    entry.biz_opaque_callback_data = str(body.get("biz_opaque_callback_data") or "")


def _files(body: Json) -> Iterator[tuple[str, Json]]:
    """Yield the files of a message, whatever else is wrong with it."""
    kind, template = str(body.get("type", "")), body.get("template")
    file = body.get(kind)
    if kind in bodies.MEDIA and isinstance(file, dict):
        yield kind, file
    with suppress(GraphError):
        yield from template_checks.files_in(
            template.get("components") if isinstance(template, dict) else None
        )


def _mark_read(sim: Simulator, number: PhoneNumber, entry: JournalEntry, body: Json) -> HttpAnswer:
    entry.type = "typing" if "typing_indicator" in body else "read"
    message_id = body.get("message_id")
    if body.get("messaging_product") != "whatsapp" or body.get("status") != "read":
        raise GraphError(100, "Param status must be one of {READ}.")
    if not isinstance(message_id, str) or not message_id.startswith("wamid."):
        raise GraphError(131009, "Param message_id is not a valid message ID.")
    if not sim.has_written(number.id, message_id):
        raise GraphError(100, "Param message_id names no message that this number received.")
    entry.outcome, entry.is_processed, entry.wamid = "read", True, message_id
    return SUCCESS


@dataclass(slots=True)
class _Post:
    """One message on its way from the request to its answer."""

    sim: Simulator
    account: BusinessAccount
    number: PhoneNumber
    entry: JournalEntry
    body: Json

    def answer(self) -> HttpAnswer:
        recipient = recipient_of(self.body)
        plan = self._plan(recipient)
        broken = _broken(self.entry, plan)
        if broken is not None:
            return broken
        bodies.check_envelope(self.body)
        _check_number(self.number, recipient)
        if self.account.is_unpaid:
            raise GraphError(131042, "There is an error related to your payment method.")
        # Phone number and user id of a person share one bucket.
        who = recipient.group_id or person(recipient).user_id or recipient.key
        self.sim.limits.take_message(self.number, who, self.entry.time)
        if plan.preset is Preset.ERROR:
            raise GraphError(plan.code, plan.details)
        bodies.check_body(self.entry.type, self.body, self._media_type)
        template = self._template() if self.entry.type == "template" else None
        final_plan = self._final_plan(recipient, template, plan)
        return _ended(self.entry, plan, self._accept(recipient, template, final_plan))

    def _plan(self, recipient: GraphRecipient) -> Plan:
        plan = self.sim.rules.plan(
            "messages",
            phone_number_id=self.number.id,
            recipient=recipient.key,
            template=self.entry.template,
        )
        if plan is ORDINARY and self.sim.options.obeys_magic_numbers:
            return magic_of(recipient.digits)
        return plan

    def _media_type(self, media_id: str) -> str | None:
        file = self.sim.media.find(media_id, self.entry.time)
        return file.mime_type if file and file.phone_number_id == self.number.id else None

    def _template(self) -> SimulatedTemplate:
        name, part = self.entry.template, self.body["template"]
        assert isinstance(part, dict)  # noqa: S101 - by check_body
        language = part.get("language")
        code = language.get("code") if isinstance(language, dict) else None
        if not isinstance(code, str):
            raise GraphError(131008, "The parameter template['language']['code'] is required.")
        known = self.sim.registry.template(self.account.id, name, code)
        template = template_checks.check_status(known, name, code)
        if template.category == "AUTHENTICATION" and "to" not in self.body:
            raise GraphError(131062, "Authentication templates need a phone number.")
        components = part.get("components")
        template_checks.check_parameters(template, components, now=self.entry.time)
        for kind, file in template_checks.files_in(components):
            bodies.check_media(kind, file, self._media_type)
        return template

    def _final_plan(
        self, recipient: GraphRecipient, template: SimulatedTemplate | None, plan: Plan
    ) -> Plan:
        """Return what becomes of the message once it is accepted."""
        sim = self.sim
        if recipient.group_id or sim.is_window_open(self.number.id, recipient.key):
            return plan
        if template is not None:
            sim.limits.take_recipient(self.account, recipient.key, self.entry.time)
            is_american = recipient.digits.startswith("1") and len(recipient.digits) == 11
            if sim.options.blocks_us_marketing and is_american and template.category == "MARKETING":
                return Plan(Preset.FAILED, 131049)
            return plan
        if sim.options.window == "answer":
            raise GraphError(131047, OUTSIDE_WINDOW)
        if sim.options.window == "off" or plan.preset is Preset.SILENT:
            return plan
        return Plan(Preset.FAILED, 131047, OUTSIDE_WINDOW)

    def _accept(
        self, recipient: GraphRecipient, template: SimulatedTemplate | None, final_plan: Plan
    ) -> Json:
        entry = self.entry
        wamid = sent_wamid(self.sim.rng, recipient.digits or self.number.digits)
        is_held = final_plan.preset in (Preset.HELD, Preset.HELD_DROPPED)
        entry.outcome, entry.wamid = "held" if is_held else "accepted", wamid
        entry.is_processed = True
        if not recipient.is_lost:
            category = template.category.lower() if template else "service"
            message = AcceptedMessage(
                entry.n,
                wamid,
                self.account.id,
                self.number.id,
                recipient,
                category,
                entry.biz_opaque_callback_data,
                entry.time,
            )
            self.sim.play(message, final_plan)
        state = "held_for_quality_assessment" if is_held else "accepted"
        sent: Json = {"id": wamid, "message_status": state}
        if recipient.group_id:
            sent["group_id"] = recipient.group_id
        return {
            "messaging_product": "whatsapp",
            "contacts": [recipient.contact()],
            "messages": [sent],
        }


def _broken(entry: JournalEntry, plan: Plan) -> HttpAnswer | None:
    """Return how the request ends before it is processed."""
    if plan.preset is Preset.CLOSE_BEFORE:
        entry.outcome, entry.answer = "closed_before", "closed"
        return HttpAnswer(conduct=Conduct.CLOSE)
    if plan.preset is Preset.BARE_500:
        entry.outcome, entry.answer = "bare_500", "bare"
        return HttpAnswer(500, BARE, HTML)
    return None


def _check_number(number: PhoneNumber, recipient: GraphRecipient) -> None:
    if number.status != "CONNECTED":
        raise GraphError(133010, "The phone number is not registered on the Cloud API.")
    if recipient.key in number.blocked:
        raise GraphError(130403)
    if recipient.digits and recipient.digits == number.digits:
        raise GraphError(131021, "The sender and the recipient are the same phone number.")
    allowed = number.allowed_recipients
    if allowed is not None and recipient.digits not in allowed:
        raise GraphError(131030, "Recipient phone number not in allowed list")


def _ended(entry: JournalEntry, plan: Plan, document: Json) -> HttpAnswer:
    """Return the answer, or how it goes missing."""
    if plan.preset is Preset.HANG:
        entry.answer = "hung"
        return HttpAnswer(conduct=Conduct.HANG)
    if plan.preset is Preset.CLOSE_AFTER:
        entry.answer = "closed"
        return HttpAnswer(conduct=Conduct.CLOSE)
    if plan.preset is Preset.BARE_502:
        entry.answer = "bare"
        return HttpAnswer(502, BARE, HTML)
    accepted = answer(document)
    return accepted._replace(delay=SLOW_SECONDS) if plan.preset is Preset.SLOW else accepted
