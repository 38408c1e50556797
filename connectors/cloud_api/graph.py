"""Ask the Graph API with a tenant's credentials: JSON in, JSON or a named error out."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from connectors.cloud_api import transport
from connectors.cloud_api.answers import Answer, Json
from connectors.cloud_api.errors import error_of, has_error
from workspaces.channel_errors import OutcomeUnknown, Unavailable
from workspaces.channels import Credentials

logger = logging.getLogger("sigma.whatsapp.graph")

_VERSION = re.compile(r"v\d{1,3}\.\d{1,2}")
_versions_told: set[str] = set()
_NO_PARAMETERS: Mapping[str, str] = {}


class Graph:
    """The Graph API as one token sees it. Nothing it raises or logs holds a token."""

    def __init__(self, credentials: Credentials, url: str) -> None:
        token, secret = credentials.access_token, credentials.app_secret
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._writing = {**self._headers, "Content-Type": "application/json"}
        self._proof: dict[str, str] = {}
        if secret is not None:
            # https://developers.facebook.com/docs/graph-api/guides/secure-requests
            proof = hmac.new(secret.encode(), token.encode(), hashlib.sha256)
            self._proof = {"appsecret_proof": proof.hexdigest()}

    def get(self, node: str, parameters: Mapping[str, str] = _NO_PARAMETERS) -> Json:
        """Read a node or an edge.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        answer = transport.call("GET", self._address(node, parameters), headers=self._headers)
        return self._object(answer, changes=False)

    def ask(self, node: str, parameters: Mapping[str, str] = _NO_PARAMETERS) -> Answer:
        """Read a node and leave the judgement of the answer to the caller.

        Raises:
            workspaces.channel_errors.Unavailable: there is no answer.
        """
        return transport.call("GET", self._address(node, parameters), headers=self._headers)

    def post(self, node: str, body: Json) -> Json:
        """Change a node or add to an edge.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        answer = transport.call(
            "POST",
            self._address(node),
            headers=self._writing,
            content=msgspec.json.encode(body),
        )
        return self._object(answer, changes=True)

    def delete(self, node: str, parameters: Mapping[str, str]) -> Json:
        """Delete what ``parameters`` name.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        answer = transport.call("DELETE", self._address(node, parameters), headers=self._headers)
        return self._object(answer, changes=True)

    async def send(self, node: str, content: bytes) -> Json:
        """POST ``content``, which is JSON already, without blocking.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        answer = await transport.send(self._address(node), content=content, headers=self._writing)
        return self._object(answer, changes=True)

    def _address(self, node: str, parameters: Mapping[str, str] = _NO_PARAMETERS) -> str:
        query = urlencode({**parameters, **self._proof})
        return f"{self.url}/{node}?{query}" if query else f"{self.url}/{node}"

    def _object(self, answer: Answer, *, changes: bool) -> Json:
        self._tell_version(answer)
        if not answer.is_success or has_error(answer):
            raise error_of(answer, changes=changes)
        found = answer.json
        if found is None:
            sentence = "Meta's answer is not a JSON object."
            raise OutcomeUnknown(sentence) if changes else Unavailable(sentence)
        return found

    def _tell_version(self, answer: Answer) -> None:
        """Log, once per process, that Meta answers as another version than the one we ask for."""
        answered = answer.headers.get("facebook-api-version", "")
        asked = self.url.rpartition("/")[2]
        known = answered in (asked, "") or answered in _versions_told
        if known or not _VERSION.fullmatch(answered) or not _VERSION.fullmatch(asked):
            return
        _versions_told.add(answered)
        logger.warning(
            "whatsapp: the Graph API answers as another version than SIGMA_GRAPH_URL names",
            extra={"asked": asked, "answered": answered},
        )
