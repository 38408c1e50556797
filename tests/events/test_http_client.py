"""Only an address that was checked is connected to, whatever a name says the next time."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from connectors.events.addresses import Policy, UnusableAddress
from connectors.events.attempts import AttemptResult, ClaimedDelivery
from connectors.events.http_client import HttpClient, SsrfGuard
from tests.events.conftest import Endpoint

# Before anything is connected to.
REFUSALS = {
    "This is not a URL.",
    "The address is not one of the public internet.",
    "The name leads to no address of the public internet.",
}


class Zone(AbstractResolver):
    """A name server under the attacker's hand: each question gets the next answer."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for each in addresses
        ]

    async def close(self) -> None:
        """Nothing to let go of."""


def post(url: str, policy: Policy, resolver: AbstractResolver | None = None) -> AttemptResult:
    """Make one attempt and return its result."""
    with HttpClient(policy, resolver=resolver) as client:
        now, subscription, event = datetime.now(UTC), (uuid4(), uuid4()), (uuid4(), "event.test")
        delivery = ClaimedDelivery(1, 1, now, *subscription, url, b"", *event, now, {})
        client.send(delivery, headers={"webhook-id": "1"}, body=b"{}")
        (result,) = client.wait(120)
        return result


def test_it_refuses_a_name_that_leads_inside(endpoint: Endpoint) -> None:
    url = f"https://rebind.example:{endpoint.port}/"

    result = post(url, Policy(), Zone(["127.0.0.1"]))

    assert (result.status, result.error) == (
        None,
        "The name leads to no address of the public internet.",
    )
    assert endpoint.got == []


def test_it_connects_to_what_was_checked_and_asks_only_once(endpoint: Endpoint) -> None:
    policy = Policy.of(["app.example"], loopback=False)
    zone = Zone(["127.0.0.1"], ["169.254.169.254"])

    result = post(f"http://app.example:{endpoint.port}/", policy, zone)

    assert (result.status, zone.asked) == (200, 1)


def test_it_leaves_out_the_private_ones_among_several_addresses(endpoint: Endpoint) -> None:
    policy = Policy(loopback=True)  # 127.0.0.1 stands for the public one
    zone = Zone(["10.0.0.1", "127.0.0.1", "192.168.0.1"])

    result = post(f"http://localhost:{endpoint.port}/", policy, zone)

    assert result.status == 200


@pytest.mark.parametrize(
    "url",
    [
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://[::ffff:127.0.0.1]/",
        "https://localhost/",
    ],
)
def test_it_refuses_an_address_in_any_spelling(url: str) -> None:
    assert post(url, Policy()).error in REFUSALS


def test_no_socket_is_made_for_an_address_that_nobody_checked() -> None:
    guard = SsrfGuard(Policy(), Zone(["127.0.0.1"]))
    public, private = ("93.184.215.14", 443), ("127.0.0.1", 443)
    guard.check(URL("https://93.184.215.14/"))

    guard.open((socket.AF_INET, socket.SOCK_STREAM, 0, "", public)).close()
    with pytest.raises(UnusableAddress, match="not checked"):
        guard.open((socket.AF_INET, socket.SOCK_STREAM, 0, "", private))


def test_it_ignores_a_proxy_of_the_environment(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert post(endpoint.url(), Policy(loopback=True)).status == 200


def test_it_says_in_fixed_words_why_there_was_no_answer() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        refused = post(url, Policy(loopback=True)).error

    assert refused == "It could not be connected to."
    assert post("nonsense", Policy()).error.startswith("The URL must")


def test_an_answer_without_end_does_not_keep_it(endpoint: Endpoint) -> None:
    endpoint.headers = {"content-length": "1000000000"}

    assert post(endpoint.url(), Policy(loopback=True)).status == 200
