"""A file of acme's, and Meta to fetch it from."""

from __future__ import annotations

import pytest
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import Client

from messaging.models import Media, Message
from tests.conftest import Cast
from tests.graphql.conftest import write
from workspaces import secrets
from workspaces.models import SecretKind

TOKEN = "EAAG-an-access-token-of-acme"
PNG = b"\x89PNG" + bytes(range(256)) * 1000


def get(path: str, key: str = "") -> HttpResponseBase:
    """Ask for a path with a key."""
    return Client().get(path, headers={"Authorization": f"Bearer {key}"} if key else {})


def body(answer: HttpResponseBase) -> bytes:
    """Read a streamed answer to its end."""
    assert isinstance(answer, StreamingHttpResponse), answer
    return b"".join(answer.streaming_content)


@pytest.fixture
def token(acme: Cast) -> str:
    """Acme's access token."""
    secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value=TOKEN)
    return TOKEN


@pytest.fixture
def file(acme: Cast) -> Media:
    """A picture that somebody sent to acme."""
    (message,) = write(acme, 1, type="image")
    return attach(message, mime_type="image/png", filename="cat.png")


def attach(message: Message, **columns: object) -> Media:
    """Store a file of a message."""
    return Media.objects.create(
        tenant_id=message.tenant_id,
        workspace_id=message.workspace_id,
        message=message,
        **{"platform_media_id": "777", **columns},
    )


@pytest.fixture
def path(file: Media) -> str:
    """Where the file is served."""
    return f"/media/{file.id}"
