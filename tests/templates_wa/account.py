"""A platform that lists what a test says, behind the Channel port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from templates_wa.models import Template
from tests.conftest import Cast
from workspaces.channel_errors import ChannelError
from workspaces.channel_facts import TemplateDraft, TemplateFacts

BODY = ({"type": "BODY", "text": "Hello {{1}}!"},)


def fact(name: str = "welcome", language: str = "en", **parts: object) -> TemplateFacts:
    """Return a template as the platform lists it."""
    given = {"status": "APPROVED", "category": "MARKETING", "components": BODY, **parts}
    return TemplateFacts(str(abs(hash((name, language)))), name, language, **given)


def in_catalogue(cast: Cast) -> dict[tuple[str, str], str]:
    """Return the statuses of a tenant's templates that are not deleted."""
    rows = Template.objects.filter(tenant_id=cast.tenant.id, deleted_at=None)
    return {(row.name, row.language): row.status for row in rows}


@dataclass
class Platform:
    """What each account lists, what was asked of it, and what it answers next."""

    accounts: dict[str, list[TemplateFacts]] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    error: ChannelError | None = None
    fails_after: int = 0
    meanwhile: Callable[[], object] | None = None

    def channel(self, *, external_id: str, account_id: str, credentials: object) -> Channel:
        """Be the factory of channels."""
        return Channel(self, account_id)


@dataclass
class Channel:
    """One account of the platform; only what templates need of the port."""

    platform: Platform
    account: str

    def fetch_templates(self, *, name: str | None = None) -> Iterator[TemplateFacts]:
        """List; fail after some where the test says so."""
        self.platform.asked.append(("list", self.account, name or ""))
        listed = [f for f in self.platform.accounts.get(self.account, ()) if name in (None, f.name)]
        for position, found in enumerate(listed):
            if self.platform.error and position == self.platform.fails_after:
                raise self.platform.error
            yield found
        if self.platform.error:
            raise self.platform.error
        if self.platform.meanwhile:
            self.platform.meanwhile()

    def create_template(self, draft: TemplateDraft) -> TemplateFacts:
        """Take a draft for review."""
        self._note("create", draft.name, draft.language)
        made = fact(draft.name, draft.language, status="PENDING", category=draft.category)
        return replace(made, components=draft.components)

    def edit_template(self, platform_template_id: str, draft: TemplateDraft) -> None:
        """Take other components."""
        self._note("edit", platform_template_id)

    def delete_template(self, name: str, *, platform_template_id: str | None = None) -> None:
        """Delete."""
        self._note("delete", name, platform_template_id or "")

    def _note(self, *asked: str) -> None:
        self.platform.asked.append(asked)
        if self.platform.error:
            raise self.platform.error
        if self.platform.meanwhile:
            self.platform.meanwhile()
