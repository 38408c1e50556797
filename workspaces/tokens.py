"""Which app secrets and verify tokens are fit for use."""

from __future__ import annotations

MIN_VERIFY_TOKEN = 20
MIN_APP_SECRET = 16

# Every value that a document of ours prints as an example: a copy of it is no secret.
EXAMPLES = frozenset(
    {
        "your-app-secret-from-meta",
        "default-app-secret",
        "your-random-verify-token-min-20-chars",
        "your_token",
        "your-tenant-id",
        "change-me",
        "changeme",
    }
)


class UnusableToken(ValueError):
    """A secret or verify token is too short, or is an example from the documentation."""


def check_verify_token(value: str, *, name: str = "The verify token") -> str:
    """Return ``value`` if it may serve as a verify token.

    Raises:
        UnusableToken: shorter than 20 characters, not printable ASCII, or an example value.
    """
    _refuse_example(value, name)
    if len(value) < MIN_VERIFY_TOKEN:
        raise UnusableToken(f"{name} must have at least {MIN_VERIFY_TOKEN} characters.")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UnusableToken(f"{name} must be printable ASCII without spaces.")
    return value


def check_app_secret(value: str, *, name: str = "The app secret", tenant: str = "") -> str:
    """Return ``value`` if it may serve as a Meta app secret (32 hexadecimal digits as Meta issues
    them).

    Raises:
        UnusableToken: shorter than 16 characters, an example value, or filed under an example
            tenant.
    """
    _refuse_example(value, name)
    _refuse_example(tenant, name)
    if len(value) < MIN_APP_SECRET:
        raise UnusableToken(f"{name} must have at least {MIN_APP_SECRET} characters.")
    return value


def _refuse_example(value: str, name: str) -> None:
    if value.strip().lower() in EXAMPLES:
        raise UnusableToken(
            f"{name} is an example from the documentation; set a value of your own."
        )
