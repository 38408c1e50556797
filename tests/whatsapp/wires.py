"""Servers that misbehave on purpose, and a channel that talks to them."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.whatsapp.channel import CloudApiChannel
from workspaces.channel_facts import AcceptedSend
from workspaces.channels import Credentials

NUMBER_ID, WABA_ID = "100000000000001", "900000000000001"
TOKEN, APP_SECRET = "EAAG-a-token-1234567890", "0123456789abcdef0123456789abcdef"
REQUEST = b'{"to":"+27820000001","type":"text","text":{"body":"hello"}}'

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def channel(*, app_secret: str | None = APP_SECRET, account_id: str = WABA_ID) -> CloudApiChannel:
    """Return a channel for the address in the settings."""
    credentials = Credentials(TOKEN, app_secret)
    return CloudApiChannel(external_id=NUMBER_ID, account_id=account_id, credentials=credentials)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    return head + await reader.readexactly(length)


def response(body: object, status: int = 200, **headers: str) -> bytes:
    """Return an HTTP answer; bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\n{more}\r\n"
    return head.encode() + content


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve every connection with ``serve`` and close it; yields the port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def answering(content: bytes, seen: list[bytes] | None = None) -> Serve:
    """Return a server that reads whole requests and answers each with ``content``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if seen is not None:
                seen.append(request)
            writer.write(content)
            await writer.drain()

    return serve


def send_to(serve: Serve, settings) -> AcceptedSend:
    """Send one message to a server."""

    async def run() -> AcceptedSend:
        async with serving(serve) as port:
            settings.SIGMA_GRAPH_URL = f"http://127.0.0.1:{port}/v26.0"
            return await channel().send(REQUEST)

    return asyncio.run(run())


def self_signed() -> ssl.SSLContext:
    """Return what a server needs whose certificate nobody vouches for."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "graph.facebook.com")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    valid = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    pem = serialization.Encoding.PEM
    form, open_key = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(valid.sign(key, hashes.SHA256()).public_bytes(pem))
        file.write(key.private_bytes(pem, form, open_key))
        file.flush()
        tls.load_cert_chain(file.name)
    return tls
