"""Meta's errors: codes, titles, HTTP statuses, and the envelope they come in.

https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

HREF = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"


class Kind(NamedTuple):
    """What an error is called and the HTTP status it comes with."""

    title: str
    status: int = 400


KINDS = {
    0: Kind("AuthException", 401),
    1: Kind("An unknown error occurred", 500),
    2: Kind("Service temporarily unavailable", 503),
    3: Kind("Capability or permissions issue", 500),
    4: Kind("Application request limit reached"),
    10: Kind("Application does not have permission for this action", 403),
    17: Kind("User request limit reached"),
    33: Kind("Parameter value is not valid"),
    100: Kind("Invalid parameter"),
    190: Kind("Invalid OAuth access token", 401),
    200: Kind("You do not have the necessary permissions", 403),
    368: Kind("Temporarily blocked for policies violations", 403),
    80007: Kind("Rate limit issues"),
    130403: Kind("The business has blocked this user"),
    130429: Kind("Rate limit hit", 429),
    130472: Kind("User's number is part of an experiment"),
    130497: Kind("Business account is restricted from messaging users in this country", 403),
    131000: Kind("Something went wrong", 500),
    131005: Kind("Access denied", 403),
    131008: Kind("Required parameter is missing"),
    131009: Kind("Parameter value is not valid"),
    131016: Kind("Service unavailable", 500),
    131020: Kind("Group is not valid"),
    131021: Kind("Recipient cannot be sender"),
    131026: Kind("Message undeliverable"),
    131030: Kind("Recipient phone number not in allowed list"),
    131031: Kind("Business Account locked", 403),
    131037: Kind("WhatsApp provided number needs display name approval before message can be sent"),
    131041: Kind("Group is unknown"),
    131042: Kind("Business eligibility payment issue"),
    131045: Kind("Incorrect certificate", 500),
    131047: Kind("Re-engagement message"),
    131048: Kind("Spam Rate limit hit"),
    131049: Kind("This message was not delivered to maintain healthy ecosystem engagement."),
    131050: Kind("User has stopped receiving marketing messages"),
    131051: Kind("Unsupported message type"),
    131052: Kind("Media download error"),
    131053: Kind("Media upload error"),
    131055: Kind("Method not allowed"),
    131056: Kind("(Business Account, Consumer Account) pair rate limit hit"),
    131057: Kind("Account in maintenance mode", 500),
    131062: Kind("Business-scoped user ID recipients are not supported for this message"),
    131063: Kind("Marketing messages are disabled on Cloud API"),
    131064: Kind("Messaging limit reached because of template misclassification"),
    132000: Kind("Number of parameters does not match the expected number of params"),
    132001: Kind("Template name does not exist in the translation", 404),
    132005: Kind("Translated text too long"),
    132007: Kind("Template format character policy violated"),
    132008: Kind("Template parameter value is not valid"),
    132012: Kind("Parameter format does not match format in the created template"),
    132015: Kind("Template is Paused"),
    132016: Kind("Template is Disabled"),
    132018: Kind("There's an issue with the parameters in your template"),
    132068: Kind("Flow is in blocked state"),
    132069: Kind("Flow is in throttled state"),
    133004: Kind("Server Temporarily Unavailable", 503),
    133005: Kind("Two step verification PIN Mismatch"),
    133006: Kind("Phone number re-verification needed"),
    133010: Kind("Account not registered"),
    133016: Kind("Account register rate limit exceeded"),
    134011: Kind("WhatsApp Business Payments terms of service has not been accepted"),
    135000: Kind("Generic user error"),
    136024: Kind("The phone number is already verified"),
    136025: Kind("The verification code is wrong"),
    137000: Kind("Recipient identity key hash mismatch"),
    139100: Kind("Failed to block/unblock users"),
    139101: Kind("Blocklist limit reached"),
    139102: Kind("Blocklist concurrent update"),
    139103: Kind("Internal error", 500),
}
UNKNOWN = Kind("Something went wrong", 400)
TRANSIENT = frozenset({1, 2})


class GraphError(Exception):
    """Meta refuses: ``code`` from the table; ``details`` is its exact explanation."""

    def __init__(
        self,
        code: int,
        details: str = "",
        *,
        subcode: int | None = None,
        title: str = "",
        kind: str = "OAuthException",
    ) -> None:
        super().__init__(code, details)
        self.code, self.details, self.subcode, self.kind = code, details, subcode, kind
        self.title = title or KINDS.get(code, UNKNOWN).title

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return KINDS.get(self.code, UNKNOWN).status

    def envelope(self) -> dict[str, object]:
        """Return the body of the answer."""
        error: dict[str, object] = {
            "message": self.title if self.kind != "OAuthException" else self._numbered(),
            "type": self.kind,
            "code": self.code,
        }
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.details:
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details}
        if self.code in TRANSIENT:
            error["is_transient"] = True
        error["fbtrace_id"] = trace_id()
        return {"error": error}

    def _numbered(self) -> str:
        # Meta writes no number in front of what is wrong with a token.
        return self.title if self.code in (0, 190) else f"(#{self.code}) {self.title}"


def no_such_object(what: str) -> GraphError:
    """Return Meta's one answer for what does not exist and for what the token may not see."""
    return GraphError(
        100,
        subcode=33,
        kind="GraphMethodException",
        title=(
            f"Unsupported request. Object with ID '{what}' does not exist, cannot be loaded due to "
            "missing permissions, or does not support this operation. Please read the Graph API "
            "documentation at https://developers.facebook.com/docs/graph-api"
        ),
    )


def webhook_error(code: int, details: str = "") -> dict[str, object]:
    """Return an error as it stands in a status with the value ``failed``."""
    title = KINDS.get(code, UNKNOWN).title
    return {
        "code": code,
        "title": title,
        "message": title,
        "error_data": {"details": details or title},
        "href": HREF,
    }


def trace_id() -> str:
    """Return an id as in ``fbtrace_id``."""
    return "A" + secrets.token_urlsafe(16)
