"""Why something cannot be done with a broadcast, in codes that programs can act on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class BroadcastErrorCode(StrEnum):
    """Why something was refused; `DESCRIPTIONS` says what each means."""

    NOT_FOUND = "NOT_FOUND"
    INVALID_INPUT = "INVALID_INPUT"
    WORKSPACE_NOT_FOUND = "WORKSPACE_NOT_FOUND"
    WORKSPACE_INACTIVE = "WORKSPACE_INACTIVE"
    UNSUPPORTED_TRANSPORT = "UNSUPPORTED_TRANSPORT"
    TEMPLATE_NOT_FOUND = "TEMPLATE_NOT_FOUND"
    TEMPLATE_LANGUAGE = "TEMPLATE_LANGUAGE"
    TEMPLATE_NOT_SENDABLE = "TEMPLATE_NOT_SENDABLE"
    WRONG_STATE = "WRONG_STATE"
    NO_RECIPIENTS = "NO_RECIPIENTS"
    TOO_MANY_RECIPIENTS = "TOO_MANY_RECIPIENTS"
    UNUSABLE_LIST = "UNUSABLE_LIST"
    INVALID_ROWS = "INVALID_ROWS"


DESCRIPTIONS: Mapping[BroadcastErrorCode, str] = MappingProxyType(
    {
        BroadcastErrorCode.NOT_FOUND: "Your tenant has no broadcast with this id.",
        BroadcastErrorCode.INVALID_INPUT: "A value is missing, malformed, too long or too late.",
        BroadcastErrorCode.WORKSPACE_NOT_FOUND: "Your tenant has no workspace with this id.",
        BroadcastErrorCode.WORKSPACE_INACTIVE: "The workspace was made inactive.",
        BroadcastErrorCode.UNSUPPORTED_TRANSPORT: (
            "Broadcasts go through the Cloud API only, never through a linked device."
        ),
        BroadcastErrorCode.TEMPLATE_NOT_FOUND: "There is no such template in this language.",
        BroadcastErrorCode.TEMPLATE_LANGUAGE: "The template has several languages: name one.",
        BroadcastErrorCode.TEMPLATE_NOT_SENDABLE: "The platform does not allow the template now.",
        BroadcastErrorCode.WRONG_STATE: "The broadcast's state does not allow it.",
        BroadcastErrorCode.NO_RECIPIENTS: "The list is empty.",
        BroadcastErrorCode.TOO_MANY_RECIPIENTS: "The list is longer than allowed.",
        BroadcastErrorCode.UNUSABLE_LIST: "The list cannot be read: its header or its encoding.",
        BroadcastErrorCode.INVALID_ROWS: "Rows of the list cannot be taken; nothing was stored.",
    }
)


class UnableToBroadcast(Exception):
    """A broadcast refuses; ``field`` names the input at fault (``snake_case``)."""

    def __init__(self, code: BroadcastErrorCode, field: str | None, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message
