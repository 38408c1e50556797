"""Whom a request counts for."""

from typing import Any

import pytest

from sigma.clients import client_of, subscriber


@pytest.mark.parametrize(
    ("text", "counts_for"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1/128"),
        ("testclient", "None"),
        ("", "None"),
    ],
)
def test_an_ipv6_address_counts_for_its_network(text: str, counts_for: str) -> None:
    assert str(subscriber(text)) == counts_for


@pytest.mark.parametrize("text", ["127.0.0.1", "127.8.9.10", "::ffff:127.0.0.1", "::1"])
def test_loopback_is_known_in_every_spelling(text: str) -> None:
    address = subscriber(text)
    assert address is not None and address.is_loopback


@pytest.mark.parametrize(
    ("proxies", "forwarded", "counts_for"),
    [
        (0, "203.0.113.5", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "198.51.100.9, 203.0.113.5", "203.0.113.5"),
        (2, "192.0.2.7, 198.51.100.9, 203.0.113.5", "198.51.100.9"),
        (3, "203.0.113.5", "203.0.113.5"),
    ],
)
def test_it_believes_our_own_proxies_alone(
    settings: Any, proxies: int, forwarded: str, counts_for: str
) -> None:
    settings.SIGMA_PROXIES = proxies
    assert str(client_of("10.0.0.1", forwarded)) == counts_for
