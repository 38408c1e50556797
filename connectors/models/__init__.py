"""Callbacks as they arrived, and the sessions of linked devices."""

from connectors.models.callbacks import (
    DeadKind,
    DeadState,
    WebhookDead,
    WebhookDelivery,
    WebhookLedger,
    WebhookPending,
    WebhookUnhandled,
)
from connectors.models.sessions import (
    PairBy,
    SenderSession,
    SessionLease,
    SessionState,
    StoreRemoval,
    Wanted,
)

__all__ = [
    "DeadKind",
    "DeadState",
    "PairBy",
    "SenderSession",
    "SessionLease",
    "SessionState",
    "StoreRemoval",
    "Wanted",
    "WebhookDead",
    "WebhookDelivery",
    "WebhookLedger",
    "WebhookPending",
    "WebhookUnhandled",
]
