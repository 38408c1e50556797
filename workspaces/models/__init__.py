"""The tables of workspaces: tenants and their keys, and events on their way to tenants' apps."""

from __future__ import annotations

from workspaces.models.outgoing import EventDelivery, EventSubscription, OutgoingEvent
from workspaces.models.tenants import (
    INSTALLATION_ID,
    ApiKey,
    DirectoryVersion,
    KeyPurpose,
    Membership,
    Platform,
    RawKey,
    Role,
    SecretKind,
    Tenant,
    TenantKey,
    TenantSecret,
    TenantStatus,
    TokenCheck,
    Workspace,
)

__all__ = [
    "INSTALLATION_ID",
    "ApiKey",
    "DirectoryVersion",
    "EventDelivery",
    "EventSubscription",
    "KeyPurpose",
    "Membership",
    "OutgoingEvent",
    "Platform",
    "RawKey",
    "Role",
    "SecretKind",
    "Tenant",
    "TenantKey",
    "TenantSecret",
    "TenantStatus",
    "TokenCheck",
    "Workspace",
]
