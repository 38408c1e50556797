"""Meta's error answers, turned into the decision they force.

https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
"""

from __future__ import annotations

import json

from workspaces.channels import ChannelError, MediaGone, Rejected, Throttled, Unavailable

# Rate limits of the app (4), the user (17), the page (32), the account (80007), custom ones (613),
# and the Cloud API's own throughput (130429).
THROTTLED = frozenset({4, 17, 32, 613, 80007, 130429})
# "API unknown", "API service", and the Cloud API's own "something went wrong" and "unavailable".
UNAVAILABLE = frozenset({1, 2, 131000, 131016})
GENERIC = 100
NO_SUCH_OBJECT = 33
DEFAULT_WAIT = 60.0
MAX_MESSAGE = 300


def error_of(status: int, body: bytes, retry_after: str | None = None) -> ChannelError:
    """Return the error of an answer that is not 2xx."""
    code, subcode, message = _read(body)
    if status == 429 or code in THROTTLED:
        return Throttled(_seconds(retry_after))
    if status >= 500 or code in UNAVAILABLE:
        return Unavailable(f"Meta answered {status}.")
    if status in (404, 410) or (code == GENERIC and subcode == NO_SUCH_OBJECT):
        return MediaGone(code or status, "Meta no longer has this file, or may not show it to us.")
    return Rejected(code or status, f"Meta refused: {message or status}")


def _read(body: bytes) -> tuple[int, int, str]:
    try:
        error = json.loads(body)["error"]
        code, subcode, message = (error.get(k) for k in ("code", "error_subcode", "message"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0, 0, ""
    text = message[:MAX_MESSAGE] if isinstance(message, str) else ""
    return _integer(code), _integer(subcode), text


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else DEFAULT_WAIT
