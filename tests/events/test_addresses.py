"""Which URLs may be used and which addresses may be reached."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.events.addresses import Policy, UnusableAddress, is_public

STRICT = Policy()
TRIAL = Policy(loopback=True)
LISTED = Policy.of(["crm.internal", "10.20.0.0/16", "fd00:1::/32"], loopback=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "https:///path",
        "//example.org/",
        "https://user:secret@example.org/",
        "https://user@example.org/",
        "https://example.org/#fragment",
        "https://example.org:22/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://example.org\\@127.0.0.1/",
        "https://exämple.org/",
        "https://example.org/\n",
        "https://%31%32%37.0.0.1/",
        "https://example.org/" + "x" * 2000,
        "https://127.0.0.1/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001::1]/",
        "https://[ff02::1]/",
        "http://localhost:8000/",
    ],
)
def test_it_refuses_a_url(url: str) -> None:
    with pytest.raises(UnusableAddress):
        STRICT.check(url)


@pytest.mark.parametrize(
    ("policy", "url"),
    [
        (STRICT, "https://example.org"),
        (STRICT, "https://example.org:8443/hooks?tenant=1"),
        (STRICT, "https://93.184.215.14/"),
        (STRICT, "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/"),
        (TRIAL, "http://localhost:9000/"),
        (TRIAL, "http://127.0.0.1:9000/"),
        (TRIAL, "http://[::1]:9000/"),
        (LISTED, "http://crm.internal:81/"),
        (LISTED, "https://10.20.3.4/"),
        (LISTED, "http://[fd00:1::7]/"),
    ],
)
def test_it_accepts_a_url(policy: Policy, url: str) -> None:
    assert policy.check(url).host in url


def test_a_trial_installation_opens_nothing_but_itself() -> None:
    for url in ("http://10.0.0.1/", "https://192.168.0.1/", "http://example.org/"):
        with pytest.raises(UnusableAddress):
            TRIAL.check(url)


@given(st.ip_addresses(v=4))
def test_no_special_ipv4_address_is_public(address: IPv4Address) -> None:
    special = address.is_multicast or address.is_reserved or not address.is_global
    assert not (is_public(address) and special)
    assert not is_public(IPv6Address(f"::ffff:{address}"))
    assert not is_public(IPv6Address(int(IPv6Address("64:ff9b::")) + int(address)))


@given(st.ip_addresses(v=6))
def test_no_special_ipv6_address_is_public(address: IPv6Address) -> None:
    special = address.is_multicast or address.is_private or address.is_link_local
    assert not (is_public(address) and special)


@given(st.sampled_from(["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7"]), st.data())
def test_no_address_of_a_private_network_is_reachable(network: str, data: st.DataObject) -> None:
    address = data.draw(st.ip_addresses(network=ipaddress.ip_network(network)))

    assert not STRICT.permits("example.org", address)


def test_a_listed_host_may_resolve_to_anything_and_nobody_else() -> None:
    inside = ip_address("192.168.7.7")

    assert LISTED.permits("crm.internal", inside)
    assert not LISTED.permits("example.org", inside)
    assert LISTED.permits("example.org", ip_address("10.20.9.9"))
