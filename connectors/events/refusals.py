"""Why something about event subscriptions was not done: a code, a field and a sentence."""

from __future__ import annotations

from enum import StrEnum


class EventErrorCode(StrEnum):
    """The reasons."""

    NOT_FOUND = "NOT_FOUND"
    INVALID_URL = "INVALID_URL"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    INVALID_DESCRIPTION = "INVALID_DESCRIPTION"
    INVALID_INPUT = "INVALID_INPUT"
    TOO_MANY = "TOO_MANY"
    DISABLED = "DISABLED"


CODE_DESCRIPTIONS = {
    "NOT_FOUND": "There is no such subscription of yours.",
    "INVALID_URL": "The URL cannot be used, or leads to no address of the public internet.",
    "UNKNOWN_TYPE": "There is no event of this type.",
    "INVALID_DESCRIPTION": "A description has at most 200 characters.",
    "INVALID_INPUT": "The input does not say what to do, or says it twice.",
    "TOO_MANY": "More than is allowed at once.",
    "DISABLED": "The subscription is disabled; activate it first.",
}


class UnableToSubscribe(Exception):
    """It was not done; ``field`` names the input at fault."""

    def __init__(self, code: EventErrorCode, field: str, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message
