"""Find the template that a send names, among those Meta let us know."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from uuid import UUID

from templates_wa.definitions import Definition
from templates_wa.models import Template

SENDABLE = "APPROVED"
# Names that a misspelt one is compared with.
MOST_NAMES = 1_000
# Tried in this order where no language was given and several could be meant.
_USUAL = ("en", "en_US")
_IN_WORDS = {
    "PENDING": "Meta is still reviewing it",
    "IN_APPEAL": "Meta's rejection of it is under appeal",
    "REJECTED": "Meta rejected it; edit it and submit it again",
    "PAUSED": "Meta paused it because of low quality; it may resume by itself",
    "DISABLED": "Meta disabled it for good because of low quality",
    "PENDING_DELETION": "it is being deleted",
    "DELETED": "it was deleted",
    "LIMIT_EXCEEDED": "the account has reached its number of templates",
    "ARCHIVED": "Meta archived it because it was not used; unarchive it",
    "LOCKED": "Meta locked it",
    "FLAGGED": "Meta flagged it because of low quality and may pause it",
}


class UnableToFind(Exception):
    """Base of the reasons why a template cannot be used; never raised itself."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnknownTemplate(UnableToFind):
    """There is no such template, or not in this language; ``locales`` are those it has, and
    ``similar`` are names that may have been meant.
    """

    def __init__(
        self, name: str, language: str | None, locales: Sequence[str], similar: Sequence[str] = ()
    ) -> None:
        self.locales = tuple(locales)
        if not locales:
            hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
            super().__init__(f"There is no template named {name[:64]} in this account.{hint}")
        else:
            super().__init__(
                f"The template {name[:64]} does not exist in {(language or '')[:32]}; "
                f"it exists in: {', '.join(locales)}."
            )


class NotSendable(UnableToFind):
    """Meta does not allow the template to be sent now; ``status`` is Meta's word."""

    def __init__(self, name: str, language: str, status: str) -> None:
        self.status = status
        why = _IN_WORDS.get(status, "only approved templates can be sent")
        super().__init__(f"The template {name[:64]} ({language}) is {status}: {why}.")


class AmbiguousLanguage(UnableToFind):
    """No language was given, and the template can be sent in several: ``locales``."""

    def __init__(self, name: str, locales: Sequence[str]) -> None:
        self.locales = tuple(locales)
        super().__init__(
            f"The template {name[:64]} exists in: {', '.join(locales)}. Give the language."
        )


def find(*, tenant_id: UUID, waba_id: str, name: str, language: str | None = None) -> Template:
    """Return the template to send.

    Without a language it is the only one that can be sent, else ``en``, else ``en_US``.

    Raises:
        UnknownTemplate, NotSendable, AmbiguousLanguage: see there.
    """
    known = {
        row.language: row
        for row in Template.objects.filter(
            tenant_id=tenant_id, waba_id=waba_id, name=name, deleted_at=None
        ).order_by("language")
    }
    if not known:
        raise UnknownTemplate(name, language, (), _similar(name, tenant_id, waba_id))
    if language is None:
        return _only(name, known)
    if language not in known:
        raise UnknownTemplate(name, language, tuple(known))
    return _sendable(known[language])


def definition_of(template: Template) -> Definition:
    """Return what a template has places for."""
    return Definition.of(template.components, template.parameter_format)


def _similar(name: str, tenant_id: UUID, waba_id: str) -> list[str]:
    """Return up to three names of the account's templates that are spelt nearly so."""
    rows = Template.objects.filter(tenant_id=tenant_id, waba_id=waba_id, deleted_at=None)
    names = rows.order_by("name").values_list("name", flat=True).distinct()
    return difflib.get_close_matches(name[:64].lower(), names[:MOST_NAMES])


def _only(name: str, known: dict[str, Template]) -> Template:
    sendable = {key: row for key, row in known.items() if row.status == SENDABLE}
    if len(sendable) == 1:
        return next(iter(sendable.values()))
    if not sendable:
        return _sendable(next(iter(known.values())))
    usual = next((sendable[key] for key in _USUAL if key in sendable), None)
    if usual is None:
        raise AmbiguousLanguage(name, tuple(sendable))
    return usual


def _sendable(template: Template) -> Template:
    if template.status != SENDABLE:
        raise NotSendable(template.name, template.language, template.status)
    return template
