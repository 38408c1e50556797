"""The Cloud API behind the Channel port: one phone number, and the account it belongs to.

No error of it holds a token or an address with one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
from django.conf import settings

from connectors.whatsapp import describing, media, sending, template_calls, transport
from connectors.whatsapp.errors import error_of, media_error_of
from connectors.whatsapp.graph import Graph
from connectors.whatsapp.wire.answers import Json
from connectors.whatsapp.wire.codes import BAD_TOKEN
from workspaces.channel_errors import ChannelError, MediaGone, NotConfigured, Rejected, Unavailable
from workspaces.channel_facts import (
    Accepted,
    Health,
    NumberFacts,
    TemplateDraft,
    TemplateFacts,
    TokenFacts,
)
from workspaces.channels import Credentials

META_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
UNKNOWN_FIELD = 100


class CloudApiChannel:
    """One phone number on Meta's Cloud API."""

    def __init__(self, *, external_id: str, account_id: str, credentials: Credentials) -> None:
        self._phone_number_id, self._waba_id = external_id, account_id
        self._credentials = credentials
        self._graph = Graph(credentials, settings.SIGMA_GRAPH_URL)

    def open_media(self, platform_media_id: str) -> media.MediaDownload:
        """Open a file that a message carries.

        Raises:
            workspaces.channel_errors.MediaGone: Meta has no such file, or our token may not see it.
            workspaces.channel_errors.Throttled: too many requests.
            workspaces.channel_errors.Unavailable: no proper answer.
            workspaces.channel_errors.Rejected: anything else that Meta refuses.
        """
        if not META_ID.fullmatch(platform_media_id):
            raise MediaGone(404, "The message names no file of Meta's.")
        answer = self._graph.ask(platform_media_id, {"phone_number_id": self._phone_number_id})
        if answer.status != 200:
            raise media_error_of(answer)
        url = (answer.json or {}).get("url")
        if not isinstance(url, str):
            raise Unavailable("Meta named no address for the file.")
        token = self._credentials.access_token
        try:
            return media.download(
                transport.downloads(), url, graph_url=self._graph.url, token=token
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"Meta cannot be reached ({type(error).__name__}).") from None

    def health(self) -> Health:
        """Ask Meta for the number itself, which needs valid credentials and nothing else."""
        try:
            self._graph.get(self._phone_number_id, {"fields": "id"})
        except ChannelError as error:
            return Health(False, str(error))
        return Health(True, "Meta accepts the access token.")

    async def send(self, request: bytes) -> Accepted:
        """Send one message, the same bytes at every attempt.

        Raises:
            workspaces.channel_errors.Throttled: nothing was sent.
            workspaces.channel_errors.Unavailable: nothing was sent.
            workspaces.channel_errors.Rejected: refused for good.
            workspaces.channel_errors.OutcomeUnknown: it may have been sent.
        """
        return sending.accepted_in(await self._post(request))

    async def mark_read(self, platform_message_id: str, *, typing: bool) -> None:
        """Mark a person's message as read, and show him that an answer is being typed.

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer; harmless twice.
        """
        answer = await self._post(sending.read_mark(platform_message_id, typing=typing))
        if answer.get("success") is not True:
            raise Rejected(0, "Meta did not mark the message as read and does not say why.")

    def number(self) -> NumberFacts:
        """Ask Meta about the number, and which portfolio owns its account.

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        try:
            node = self._graph.get(self._phone_number_id, {"fields": describing.NUMBER_FIELDS})
        except Rejected as refused:
            if refused.code != UNKNOWN_FIELD or refused.stops:
                raise
            # Some version of the API does not have one of the fields, and then gives none.
            node = self._graph.get(self._phone_number_id, {"fields": describing.BASIC_FIELDS})
        return describing.number_in(node, self._portfolio_id())

    def token(self) -> TokenFacts:
        """Ask Meta about the access token, as the token itself: it needs nobody's permission.

        Raises:
            workspaces.channel_errors.ChannelError: no proper answer; an invalid token is one.
        """
        answer = self._graph.ask("debug_token", {"input_token": self._credentials.access_token})
        if answer.status == 200:
            return describing.token_in(answer.json or {}, self._waba_id)
        error = error_of(answer, changes=False)
        if isinstance(error, Rejected) and error.code == BAD_TOKEN:
            return TokenFacts(is_valid=False, problem=f"{error} {error.details}".strip())
        raise error

    def fetch_templates(self, *, name: str | None = None) -> Iterator[TemplateFacts]:
        """Yield the templates of the number's account, page after page.

        Raises:
            workspaces.channel_errors.NotConfigured: the workspace has no WABA id.
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        return template_calls.listed(self._graph, self._account(), name)

    def create_template(self, draft: TemplateDraft) -> TemplateFacts:
        """Submit a new template for review.

        Raises:
            workspaces.channel_errors.NotConfigured: the workspace has no WABA id.
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        return template_calls.create(self._graph, self._account(), draft)

    def edit_template(self, platform_template_id: str, draft: TemplateDraft) -> None:
        """Replace a template's components.

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        template_calls.edit(self._graph, _meta_id(platform_template_id, "template"), draft)

    def delete_template(self, name: str, *, platform_template_id: str | None = None) -> None:
        """Delete a template in all its languages, or in the one of ``platform_template_id``.

        Raises:
            workspaces.channel_errors.NotConfigured: the workspace has no WABA id.
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        template_calls.delete(self._graph, self._account(), name, platform_template_id)

    async def _post(self, request: bytes) -> Json:
        node = _meta_id(self._phone_number_id, "phone number")
        return await self._graph.send(f"{node}/messages", request)

    def _account(self) -> str:
        if not self._waba_id:
            raise NotConfigured("The workspace has no WABA ID; add it in the admin.")
        return _meta_id(self._waba_id, "WABA")

    def _portfolio_id(self) -> str:
        """Return the portfolio whose limit the number shares; the account where Meta is silent."""
        if not self._waba_id:
            return ""
        try:
            owner = self._graph.get(self._account(), {"fields": describing.OWNER_FIELDS})
        except Rejected:
            return self._waba_id
        return describing.owner_in(owner) or self._waba_id


def _meta_id(value: str, what: str) -> str:
    """Return an id that can be part of an address.

    Raises:
        workspaces.channel_errors.NotConfigured: it is none of Meta's.
    """
    if not META_ID.fullmatch(value):
        raise NotConfigured(f"The {what} ID is not one of Meta's; correct the workspace.")
    return value
