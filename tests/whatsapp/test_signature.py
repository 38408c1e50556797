import pytest

from connectors.whatsapp.wire.signature import InvalidSignature, sign, verify

SECRET = b"test_app_secret"
OLD = b"the_secret_before"
BODY = b'{"object":"whatsapp_business_account","entry":[]}'
SIGNED = "sha256=dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756"
SPACED = b'{"object": "whatsapp_business_account", "entry": []}'
SPACED_SIGNED = "sha256=56cbbaf4961c6cfdae48b7f116c047e5eb513d2c931baae63a2bc1afd26f803a"


@pytest.mark.parametrize(("body", "header"), [(BODY, SIGNED), (SPACED, SPACED_SIGNED)])
def test_it_signs_the_raw_bytes(body: bytes, header: str) -> None:
    assert sign(body, SECRET) == header
    verify(body, header, [SECRET])


@pytest.mark.parametrize("secrets", [[SECRET], [OLD, SECRET], [SECRET, OLD], (OLD, SECRET, OLD)])
def test_it_accepts_any_live_secret(secrets: list[bytes]) -> None:
    verify(BODY, SIGNED, secrets)


@pytest.mark.parametrize("header", [SIGNED.encode(), "sha256=" + SIGNED[7:].upper()])
def test_it_accepts_the_header_as_bytes_and_in_capitals(header: bytes | str) -> None:
    verify(BODY, header, [SECRET])


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        b"",
        SIGNED[7:],
        "sha1=" + SIGNED[7:47],
        "sha1=" + SIGNED[7:],
        SIGNED[:-1],
        SIGNED + "0",
        SIGNED + "\n",
        " " + SIGNED,
        "SHA256=" + SIGNED[7:],
        "sha256=" + "g" * 64,
        "sha256=" + "٠" * 64,
        b"sha256=" + b"\xff" * 64,
        "sha256=" + "0" * 64,
    ],
)
def test_it_refuses_any_other_header(header: bytes | str | None) -> None:
    with pytest.raises(InvalidSignature):
        verify(BODY, header, [SECRET])


def test_it_refuses_another_body() -> None:
    with pytest.raises(InvalidSignature):
        verify(SPACED, SIGNED, [SECRET])


@pytest.mark.parametrize("secrets", [[], [OLD], [b""]])
def test_it_refuses_without_the_right_secret(secrets: list[bytes]) -> None:
    with pytest.raises(InvalidSignature):
        verify(BODY, SIGNED, secrets)


def test_it_says_nothing_about_why() -> None:
    with pytest.raises(InvalidSignature) as refusal:
        verify(BODY, SIGNED, [OLD])
    assert str(refusal.value) == ""
