"""A client that others wrote, pywa, against the simulated Meta, beside our own receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from pywa import WhatsApp, types
from pywa.types.templates import BodyText, TemplateLanguage

from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.server import RunningSimulator
from connectors.simulator.meta.world import App, Subscription
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.wire.signature import InvalidSignature, verify
from messaging.models import Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.conftest import Web

PERSON = "447700900123"
OTHER_SECRET = "pywa-app-secret"


class Bot:
    """A program built on pywa; ``heard`` holds what its handlers were called with."""

    def __init__(self, meta: RunningSimulator) -> None:
        self.heard: list[Any] = []
        self.client = WhatsApp(
            phone_id=meta.phone_number_id,
            waba_id=meta.waba_id,
            token=meta.token,
            app_secret=OTHER_SECRET,
            session=httpx.Client(trust_env=False),
            server=None,
            verify_token="pywa-verify-token",
        )
        # The only thing that differs from a program that talks to Meta.
        self.client.api._session.base_url = meta.url
        for handler in (
            "on_message",
            "on_message_status",
            "on_callback_button",
            "on_callback_selection",
        ):
            getattr(self.client, handler)(lambda _, update: self.heard.append(update))

    def of(self, kind: type) -> list[Any]:
        """Return what came of one kind, in order."""
        return [update for update in self.heard if isinstance(update, kind)]


@pytest.fixture
def bot(acme: Cast, web: Web) -> Iterator[Bot]:
    """A simulated Meta that tells both pywa and the tenant's receiver of everything."""
    url = f"http://127.0.0.1:{web.port}{acme.path}"
    world = business(
        app_secret=acme.app_secret,
        access_token="token",
        waba_id=acme.workspace.waba_id,
        phone_number_id=acme.workspace.external_id,
        callback_url=url,
    )
    world.options.status_delays_ms = (5, 10, 15)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hook) as hook:
        threading.Thread(target=hook.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{hook.server_port}/"
        world.apps.append(App(id="7999", secret=OTHER_SECRET, callback_url=address))
        world.accounts[0].subscriptions.append(Subscription(app_id="7999"))
        with RunningSimulator(world) as meta:
            bot = hook.bot = Bot(meta)  # type: ignore[attr-defined]
            bot.meta = meta  # type: ignore[attr-defined]
            yield bot
        hook.shutdown()


class _Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            verify(body, self.headers["X-Hub-Signature-256"], [OTHER_SECRET.encode()])
            _, status = self.server.bot.client.webhook_update_handler(body)  # type: ignore[attr-defined]
        except InvalidSignature:
            status = 401
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def test_it_sends_and_hears_of_every_step_as_our_receiver_does(
    bot: Bot, acme: Cast, globex: Cast, wait_for: Callable[..., None]
) -> None:
    client, meta = bot.client, bot.meta  # type: ignore[attr-defined]
    meta.control.inbound("+" + PERSON, "Hi")
    wait_for(lambda: bot.of(types.Message))
    buttons = [types.Button("Yes", "slot-1"), types.Button("No", "slot-2")]
    rows = types.SectionList("Menu", [types.Section("Soups", [types.SectionRow("Leek", "row-1")])])
    file = client.upload_media(b"%PDF-1.4", mime_type="application/pdf", filename="a.pdf")
    sent = [
        client.send_message(PERSON, "Hello"),
        client.send_message(PERSON, "Shall we?", buttons=buttons),
        client.send_message(PERSON, "Pick one", buttons=rows),
        client.send_document(PERSON, file.id, filename="a.pdf", caption="Yours"),
        client.send_template(
            PERSON, "welcome_message", TemplateLanguage.ENGLISH, [BodyText.params("John")]
        ),
    ]

    wait_for(lambda: len(bot.of(types.MessageStatus)) == 3 * len(sent))
    wait_for(lambda: meta.control.state()["waiting"] == 0)
    while process_batch(100):
        pass

    steps = {(u.id, u.status.value) for u in bot.of(types.MessageStatus)}
    assert steps == {(s.id, step) for s in sent for step in ("sent", "delivered", "read")}
    statuses = MessageStatus.objects.filter(tenant_id=acme.tenant.id)
    assert statuses.count() == 3 * len(sent)
    assert Message.objects.get(tenant_id=acme.tenant.id).text == "Hi"
    assert not Message.objects.filter(tenant_id=globex.tenant.id).exists()


def test_it_hears_which_message_a_press_answers(bot: Bot, wait_for: Callable[..., None]) -> None:
    client, meta = bot.client, bot.meta  # type: ignore[attr-defined]
    meta.control.inbound("+" + PERSON, "Hi")
    question = client.send_message(PERSON, "Shall we?", buttons=[types.Button("Yes", "slot-1")])

    for kind in ("button_reply", "list_reply"):
        meta.control.inbound("+" + PERSON, kind=kind)
    wait_for(lambda: bot.of(types.CallbackButton) and bot.of(types.CallbackSelection))

    pressed = [*bot.of(types.CallbackButton), *bot.of(types.CallbackSelection)]
    assert [update.reply_to_message.id for update in pressed] == [question.id] * 2


def test_it_reads_files_numbers_accounts_and_profiles(
    bot: Bot, wait_for: Callable[..., None]
) -> None:
    client, meta = bot.client, bot.meta  # type: ignore[attr-defined]
    media = client.upload_media(b"\x89PNG", mime_type="image/png", filename="a.png")
    assert client.get_media_bytes(url=client.get_media_url(media.id).url) == b"\x89PNG"
    meta.control.inbound("+" + PERSON, kind="image")
    wait_for(lambda: bot.of(types.Message))
    (message,) = bot.of(types.Message)
    assert message.image.get_bytes().startswith(b"\x89PNG")

    commands = [types.Command("hours", "When we are open")]
    client.update_conversational_automation(ice_breakers=["Where are you?"], commands=commands)
    number = client.get_business_phone_number()
    assert number.conversational_automation.ice_breakers == ("Where are you?",)
    assert [n.id for n in client.get_business_phone_numbers()] == [meta.phone_number_id]
    assert client.get_business_account().is_enabled_for_insights
    client.update_business_profile(about="Cups", industry=types.Industry.RETAIL)
    assert client.get_business_profile().industry == types.Industry.RETAIL
    assert "welcome_message" in {template.name for template in client.get_templates()}

    assert client.mark_message_as_read(message.id)
    code = client.create_qr_code("I would like a cup", image_type="PNG").code
    assert [qr.prefilled_message for qr in client.get_qr_codes()] == ["I would like a cup"]
    assert client.delete_qr_code(code)
    assert [user.wa_id for user in client.block_users([PERSON]).added_users] == [PERSON]
    assert [user.wa_id for user in client.get_blocked_users()] == [PERSON]
    assert [user.wa_id for user in client.unblock_users([PERSON]).removed_users] == [PERSON]
