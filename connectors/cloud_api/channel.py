"""The Cloud API behind the Channel port: one HTTP client per process, no retries.

No error of it holds a token or an address with one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import cache

import httpx
from django.conf import settings

from connectors.cloud_api.errors import error_of
from connectors.cloud_api.media import MediaDownload, download
from workspaces.channels import ChannelError, Credentials, Health, MediaGone, Unavailable

META_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
TIMEOUT = httpx.Timeout(connect=5, read=20, write=10, pool=5)
# Meta's file hosts turn away some clients that do not look like a browser.
USER_AGENT = "Mozilla/5.0 (compatible; SIGMA-WhatsApp-Connector)"


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=TIMEOUT, headers={"User-Agent": USER_AGENT})


class CloudApiChannel:
    """One phone number on Meta's Cloud API."""

    def __init__(self, *, external_id: str, account_id: str, credentials: Credentials) -> None:
        self._phone_number_id, self._waba_id = external_id, account_id
        self._credentials = credentials
        self._graph_url: str = settings.SIGMA_GRAPH_URL

    def open_media(self, platform_media_id: str) -> MediaDownload:
        """Open a file that a message carries.

        Raises:
            workspaces.channels.MediaGone: Meta has no such file, or our token may not see it.
            workspaces.channels.Throttled: too many requests.
            workspaces.channels.Unavailable: no proper answer.
            workspaces.channels.Rejected: anything else that Meta refuses.
        """
        if not META_ID.fullmatch(platform_media_id):
            raise MediaGone(404, "The message names no file of Meta's.")
        try:
            answer = self._get(platform_media_id, phone_number_id=self._phone_number_id)
            url = answer.get("url")
            if not isinstance(url, str):
                raise Unavailable("Meta named no address for the file.")
            token = self._credentials.access_token
            return download(_client(), url, graph_url=self._graph_url, token=token)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"Meta cannot be reached ({type(error).__name__}).") from None

    def health(self) -> Health:
        """Ask Meta for the number itself, which needs valid credentials and nothing else."""
        try:
            self._get(self._phone_number_id, fields="id")
        except httpx.HTTPError as error:
            return Health(False, f"Meta cannot be reached ({type(error).__name__}).")
        except ChannelError as error:
            return Health(False, str(error))
        return Health(True, "Meta accepts the access token.")

    def _get(self, node: str, **parameters: str) -> dict[str, object]:
        token, secret = self._credentials.access_token, self._credentials.app_secret
        if secret is not None:
            # https://developers.facebook.com/docs/graph-api/guides/secure-requests
            proof = hmac.new(secret.encode(), token.encode(), hashlib.sha256)
            parameters["appsecret_proof"] = proof.hexdigest()
        response = _client().get(
            f"{self._graph_url}/{node}",
            params=parameters,
            headers={"Authorization": f"Bearer {token}"},
        )
        if response.status_code != 200:
            raise error_of(
                response.status_code, response.content, response.headers.get("retry-after")
            )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Unavailable("Meta's answer is not a JSON object.")
        return answer
