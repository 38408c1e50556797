"""Ask the Graph API with a tenant's credentials: JSON in, JSON or a named error out."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from connectors.whatsapp import transport
from connectors.whatsapp.errors import error_of, has_error, is_wrong_proof
from connectors.whatsapp.wire.answers import Answer, Json
from lib.ttl import TtlCache
from workspaces.channel_errors import OutcomeUnknown, Unavailable
from workspaces.channels import Credentials

logger = logging.getLogger("sigma.whatsapp.graph")

_VERSION = re.compile(r"v\d{1,3}\.\d{1,2}")
_versions_told: set[str] = set()
_NO_PARAMETERS: Mapping[str, str] = {}


class _Proofs:
    """What proves that a token is used by its own app: one for each live app secret, and the one
    that fits first. Which does is known to the whole process, for as long as it lives.

    A request whose proof is refused was not carried out, so it may be made again with another.
    https://developers.facebook.com/docs/graph-api/guides/secure-requests
    """

    def __init__(self, credentials: Credentials) -> None:
        token = credentials.access_token.encode()
        secrets = [credentials.app_secret, *credentials.others]
        self._all = [
            hmac.digest(s.encode(), token, "sha256").hex() if s else ""
            for s in secrets
            if s is not None
        ]
        self._token = hashlib.sha256(token).digest()

    def candidates(self) -> list[str]:
        """Return the proofs in the order to try them; one that is empty where there is none."""
        if len(self._all) < 2:
            return self._all or [""]
        known = _fitting.get(self._token)
        return sorted(self._all, key=lambda proof: proof != known)

    def is_settled(self, proof: str, answer: Answer) -> bool:
        """Whether no other proof is to be tried; one that was accepted is remembered."""
        if len(self._all) < 2:
            return True
        if is_wrong_proof(answer):
            return False
        if answer.is_success:
            _fitting.put(self._token, proof)
        return True


# Digests of tokens, and the proof that fitted each.
_fitting: TtlCache[bytes, str] = TtlCache(seconds=3600, size=1000)


class Graph:
    """The Graph API as one token sees it. Nothing it raises or logs holds a token."""

    def __init__(self, credentials: Credentials, url: str) -> None:
        token = credentials.access_token
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._writing = {**self._headers, "Content-Type": "application/json"}
        self._proofs = _Proofs(credentials)

    def get(self, node: str, parameters: Mapping[str, str] = _NO_PARAMETERS) -> Json:
        """Read a node or an edge.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        return self._object(self.ask(node, parameters), changes=False)

    def ask(self, node: str, parameters: Mapping[str, str] = _NO_PARAMETERS) -> Answer:
        """Read a node and leave the judgement of the answer to the caller.

        Raises:
            workspaces.channel_errors.Unavailable: there is no answer.
        """
        return self._call("GET", node, parameters, headers=self._headers)

    def post(self, node: str, body: Json) -> Json:
        """Change a node or add to an edge.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        content = msgspec.json.encode(body)
        answer = self._call("POST", node, headers=self._writing, content=content)
        return self._object(answer, changes=True)

    def delete(self, node: str, parameters: Mapping[str, str]) -> Json:
        """Delete what ``parameters`` name.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        answer = self._call("DELETE", node, parameters, headers=self._headers)
        return self._object(answer, changes=True)

    async def send(self, node: str, content: bytes) -> Json:
        """POST ``content``, which is JSON already, without blocking.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        for proof in self._proofs.candidates():
            address = self._address(node, proof)
            answer = await transport.send(address, content=content, headers=self._writing)
            if self._proofs.is_settled(proof, answer):
                break
        return self._object(answer, changes=True)

    def _call(
        self, method: str, node: str, parameters: Mapping[str, str] = _NO_PARAMETERS, *,
        headers: Mapping[str, str], content: bytes = b"",
    ) -> Answer:  # fmt: skip
        for proof in self._proofs.candidates():
            address = self._address(node, proof, parameters)
            answer = transport.call(method, address, headers=headers, content=content)
            if self._proofs.is_settled(proof, answer):
                break
        return answer

    def _address(
        self, node: str, proof: str, parameters: Mapping[str, str] = _NO_PARAMETERS
    ) -> str:
        query = urlencode({**parameters, "appsecret_proof": proof} if proof else parameters)
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
