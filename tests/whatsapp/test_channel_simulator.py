"""The channel against a Meta that behaves like Meta: everything it can do, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp.channel import CloudApiChannel
from workspaces.channel_errors import Rejected, Unavailable
from workspaces.channel_facts import TemplateDraft
from workspaces.channels import Credentials, OutgoingFile

TEXT = {"messaging_product": "whatsapp", "type": "text", "text": {"body": "Hello"}}
WELCOME = {
    "name": "welcome_message",
    "language": {"code": "en"},
    "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}],
}


@pytest.fixture
def sim(settings) -> Iterator[RunningSimulator]:
    """A Meta with one number."""
    with RunningSimulator() as running:
        settings.SIGMA_GRAPH_URL = running.url
        yield running


@pytest.fixture
def channel(sim: RunningSimulator) -> CloudApiChannel:
    """The channel of its number."""
    return CloudApiChannel(
        external_id="106540352242922",
        account_id="102290129340398",
        credentials=Credentials(sim.token, "simulated-app-secret"),
    )


def body(**message: object) -> bytes:
    common = {"to": "+27821234567", "messaging_product": "whatsapp"}
    return json.dumps({**common, **message}).encode()


def test_it_sends_a_template(channel: CloudApiChannel) -> None:
    sent = asyncio.run(channel.send(body(type="template", template=WELCOME)))

    assert sent.platform_message_id.startswith("wamid.")
    assert sent.recipient == "27821234567"


def test_it_hears_why_a_message_is_refused(channel: CloudApiChannel) -> None:
    """The last seven digits of the recipient ask the simulator for a code."""
    with pytest.raises(Rejected) as caught:
        asyncio.run(channel.send(body(**TEXT, to="+27820131026")))

    assert caught.value.code == 131026
    assert caught.value.trace_id


def test_it_hears_which_parameters_are_missing(channel: CloudApiChannel) -> None:
    template = {**WELCOME, "components": []}

    with pytest.raises(Rejected) as caught:
        asyncio.run(channel.send(body(type="template", template=template)))

    assert caught.value.code == 132000
    assert "(0) does not match the expected number of params (1)" in caught.value.details


def test_it_describes_the_number_and_the_token(channel: CloudApiChannel) -> None:
    number, token, health = channel.number(), channel.token(), channel.health()

    assert (number.status, number.can_send) == ("CONNECTED", "AVAILABLE")
    assert number.number and number.messaging_limit.startswith("TIER_") and number.portfolio_id
    assert (token.is_valid, token.problem, health.ok) == (True, "", True)


def test_it_says_that_a_token_is_no_good(sim: RunningSimulator) -> None:
    stranger = CloudApiChannel(
        external_id="106540352242922", account_id="", credentials=Credentials("EAAG-wrong")
    )

    assert not stranger.token().is_valid
    assert not stranger.health().ok


def test_a_template_comes_and_goes(channel: CloudApiChannel) -> None:
    before = {template.name for template in channel.fetch_templates()}
    text: dict[str, object] = {"type": "BODY", "text": "Your parcel is here."}

    made = channel.create_template(TemplateDraft("parcel", "en", "UTILITY", (text,)))
    after = {template.name for template in channel.fetch_templates()}
    found = [t.platform_template_id for t in channel.fetch_templates(name="parcel")]
    channel.delete_template("parcel")

    assert after - before == {"parcel"}
    assert found == [made.platform_template_id]
    assert "parcel" not in {t.name for t in channel.fetch_templates() if t.status == "APPROVED"}


PNG = b"\x89PNG\r\n\x1a\n" + bytes(300_000)


def picture(content: bytes = PNG) -> OutgoingFile:
    pieces = [content[start : start + 65_536] for start in range(0, len(content), 65_536)]
    return OutgoingFile(lambda: iter(pieces), len(content), "image/png", "file.png")


def header(handle: str) -> dict[str, object]:
    return {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": [handle]}}


def test_the_example_of_a_template_is_given_to_the_tokens_app(
    channel: CloudApiChannel, sim: RunningSimulator
) -> None:
    handle = channel.send_example(channel.open_example(picture()), picture(), seconds=10)

    body = {"type": "BODY", "text": "Have a look at this."}
    made = channel.create_template(TemplateDraft("look", "en", "MARKETING", (header(handle), body)))
    assert made.status == "PENDING"


@pytest.mark.parametrize("preset", ["half", "close_before", "bare_500"])
def test_an_example_that_breaks_off_goes_on_at_once(
    channel: CloudApiChannel, sim: RunningSimulator, preset: str
) -> None:
    upload = channel.open_example(picture())
    sim.control.rule(preset, edge="upload", every=2, count=1)

    assert channel.send_example(upload, picture(), seconds=10)


def test_an_example_goes_on_later_from_what_meta_has(
    channel: CloudApiChannel, sim: RunningSimulator
) -> None:
    upload = channel.open_example(picture())
    # Of two requests for each part one asks how far it is: each second one breaks off.
    sim.control.rule("half", edge="upload", every=2)
    with pytest.raises(Unavailable):
        channel.send_example(upload, picture(), seconds=10)
    sim.control.lift_rules()

    assert channel.send_example(upload, picture(), seconds=10).startswith("4::")


def test_an_example_is_given_up_in_time(channel: CloudApiChannel) -> None:
    upload = channel.open_example(picture())

    with pytest.raises(Unavailable, match="too slowly"):
        channel.send_example(upload, picture(), seconds=0)


def test_an_upload_that_is_not_known_any_more_is_refused(
    channel: CloudApiChannel, sim: RunningSimulator
) -> None:
    upload = channel.open_example(picture())
    sim.control.advance(48 * 3600)

    with pytest.raises(Rejected):
        channel.send_example(upload, picture(), seconds=10)


def test_a_token_without_a_role_hears_what_helps(
    channel: CloudApiChannel, sim: RunningSimulator
) -> None:
    sim.control.rule("error", edge="uploads", code=200)

    with pytest.raises(Rejected, match="Admin or Developer"):
        channel.open_example(picture())
