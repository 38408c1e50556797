"""The template of a send: found, checked, and written as Meta wants it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from lib.masking import as_it_came
from messaging.events import Private
from messaging.sending import files
from messaging.sending.content import Body
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import TemplateContent
from templates_wa import catalogue
from templates_wa.catalogue import AmbiguousLanguage, NotSendable, UnableToFind, UnknownTemplate
from templates_wa.definitions import Button, ButtonKind, Card, Definition, Header, Text
from templates_wa.models import Template
from templates_wa.parameters import CardValue, HeaderValue, TemplateParameters, write
from templates_wa.rendering import Preview, preview, wire
from templates_wa.validation import Problem, problems

MARKETING = "MARKETING"
AUTHENTICATION = "AUTHENTICATION"
_STATUSES = {
    "PAUSED": SendErrorCode.TEMPLATE_PAUSED,
    "DISABLED": SendErrorCode.TEMPLATE_DISABLED,
}
_HIDDEN = "••••••"

Key = tuple[str, str | None, bool]


@dataclass(frozen=True, slots=True)
class FoundTemplate:
    """A template to send; ``row`` is missing where the platform alone knows it (forced)."""

    name: str
    language: str
    definition: Definition
    row: Template | None = None

    @property
    def is_marketing(self) -> bool:
        """Whether people can opt out of it."""
        return self.row is not None and self.row.category == MARKETING

    @property
    def is_secret(self) -> bool:
        """Whether it carries a one-time password, which is kept nowhere in plaintext."""
        known = self.row is not None and self.row.category == AUTHENTICATION
        return known or any(b.kind == ButtonKind.OTP for b in self.definition.buttons)

    def preview(self, content: TemplateContent) -> Preview:
        """Return what the recipient will see."""
        return preview(self.definition, content.parameters)

    def body(self, content: TemplateContent) -> Body:
        """Return the message's body."""
        kept = {"name": self.name, "language": self.language}
        parameters = content.parameters
        if self.row is not None:
            kept["category"] = self.row.category
        # What nobody here knows may carry a one-time password too.
        if self.is_secret or self.row is None:
            parameters = _hidden(self.definition, with_names=self.row is not None)
        template = {**kept, "parameters": _written(parameters)}
        return Body(
            "template",
            wire(self.name, self.language, self.definition, files.marked(content.parameters)),
            preview(self.definition, parameters).body or None,
            {"template": template},
        )


Finding = FoundTemplate | UnableToSend


def find_all(
    contents: Iterable[tuple[TemplateContent, bool]], *, tenant_id: UUID, waba_id: str
) -> dict[Key, Finding]:
    """Find the templates of some contents (and whether each is forced), each looked up once."""
    found: dict[Key, Finding] = {}
    for content, force in contents:
        key = key_of(content, force)
        if key not in found:
            found[key] = _find(content, force, tenant_id, waba_id)
    return found


def key_of(content: TemplateContent, force: bool) -> Key:
    """Return what a content's template is found under; parameters matter where nobody knows it."""
    return content.name, content.language, force


def _find(content: TemplateContent, force: bool, tenant_id: UUID, waba_id: str) -> Finding:
    name, language = content.name, content.language
    try:
        row = catalogue.find(tenant_id=tenant_id, waba_id=waba_id, name=name, language=language)
    except UnableToFind as error:
        if force:
            return _forced(content, tenant_id, waba_id)
        return _refused(error) if waba_id else _unknown_account()
    return FoundTemplate(row.name, row.language, catalogue.definition_of(row), row)


def _forced(content: TemplateContent, tenant_id: UUID, waba_id: str) -> Finding:
    """Return a template that may not be sent, or that we do not know: the platform decides."""
    if content.language is None:
        return UnableToSend(
            SendErrorCode.TEMPLATE_LANGUAGE, "language", "A forced template needs its language."
        )
    rows = Template.objects.filter(tenant_id=tenant_id, waba_id=waba_id, deleted_at=None)
    row = rows.filter(name=content.name, language=content.language).first()
    if row is not None:
        return FoundTemplate(row.name, row.language, catalogue.definition_of(row), row)
    return FoundTemplate(content.name, content.language, Definition())


def _unknown_account() -> UnableToSend:
    return UnableToSend(
        SendErrorCode.TEMPLATE_NOT_FOUND,
        "workspace_id",
        "The workspace has no WABA ID yet, so its templates are not known; enter it in the admin.",
    )


def _refused(error: UnableToFind) -> UnableToSend:
    code, field = SendErrorCode.TEMPLATE_NOT_FOUND, "template_name"
    if isinstance(error, NotSendable):
        code = _STATUSES.get(error.status, SendErrorCode.TEMPLATE_NOT_APPROVED)
    elif isinstance(error, AmbiguousLanguage):
        code, field = SendErrorCode.TEMPLATE_LANGUAGE, "language"
    elif isinstance(error, UnknownTemplate) and error.locales:
        field = "language"
    return UnableToSend(code, field, error.message)


def check(found: FoundTemplate, content: TemplateContent, now: datetime) -> list[UnableToSend]:
    """Return what the platform would refuse of a content's parameters."""
    return [
        UnableToSend(
            SendErrorCode.TEMPLATE_PARAMETERS,
            _field_of(problem),
            problem.message,
        )
        for problem in problems(found.definition, content.parameters, now)
    ]


def _field_of(problem: Problem) -> str:
    """Return the input's field: the values of the body have one of their own."""
    if problem.field.startswith("positional"):
        return problem.field.replace("positional", "template_params", 1)
    return f"template_parameters.{problem.field}"


def fitted(found: FoundTemplate, content: TemplateContent) -> FoundTemplate:
    """Return a template nobody here knows with the places that the parameters are for."""
    if found.row is not None:
        return found
    return FoundTemplate(found.name, found.language, _guess(content.parameters))


def _guess(parameters: TemplateParameters) -> Definition:
    own = _guess_card(parameters.card)
    return Definition(
        bool(parameters.named),
        own.header,
        own.body,
        buttons=own.buttons,
        cards=tuple(_guess_card(card) for card in parameters.cards),
    )


def _guess_card(values: CardValue) -> Card:
    named, positional = values.named or {}, values.positional or ()
    names = tuple(named) or tuple(str(number + 1) for number in range(len(positional)))
    given = values.header
    header = Header(_format_of(given), Text("")) if given is not None else None
    buttons = tuple(
        Button(value.index, (value.kind or "URL").upper(), url=Text("{{1}}", ("1",)))
        for value in values.buttons
    )
    return Card(header, Text("", names), buttons)


def _format_of(header: HeaderValue) -> str:
    if header.media is not None:
        return (header.media.kind or "IMAGE").upper()
    if header.location is not None:
        return "LOCATION"
    return "PRODUCT" if header.product is not None else "TEXT"


def _written(parameters: TemplateParameters) -> dict[str, Any]:
    """Return parameters to keep; what a form opens with is about the person in any words."""
    written = write(parameters)
    for card in (written, *written.get("cards", ())):
        for button in card.get("buttons", ()):
            if "flow_data" in button:
                button["flow_data"] = _kept(button["flow_data"])
    return written


def _kept(form: object) -> object:
    try:
        return Private(as_it_came(form))
    except RecursionError:  # deeper than any form
        return {}


def _hidden(definition: Definition, *, with_names: bool) -> TemplateParameters:
    """Return parameters that give nothing away, in their places; names that only the caller knows
    are values too.
    """
    names = definition.body.variables if definition.body else ()
    if definition.is_named and with_names:
        return TemplateParameters(named=dict.fromkeys(names, _HIDDEN))
    return TemplateParameters(positional=tuple(_HIDDEN for _ in names))
