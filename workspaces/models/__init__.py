"""The tables of workspaces: tenants and their keys, and what processes say of themselves."""

from __future__ import annotations

from workspaces.models.callers import ApiKey, Membership, Role, SecondFactor, Throttle
from workspaces.models.running import Heartbeat, PurgeRun, StoppedWork
from workspaces.models.tenants import (
    HOSTED,
    INSTALLATION_ID,
    ArchiveKey,
    DirectoryVersion,
    KeyPurpose,
    Platform,
    Proof,
    RawKey,
    SecretKind,
    Tenant,
    TenantKey,
    TenantSecret,
    TenantStatus,
    TokenCheck,
    Transport,
    Workspace,
)

__all__ = [
    "HOSTED",
    "INSTALLATION_ID",
    "ApiKey",
    "ArchiveKey",
    "DirectoryVersion",
    "Heartbeat",
    "KeyPurpose",
    "Membership",
    "Platform",
    "Proof",
    "PurgeRun",
    "RawKey",
    "Role",
    "SecondFactor",
    "SecretKind",
    "StoppedWork",
    "Tenant",
    "TenantKey",
    "TenantSecret",
    "TenantStatus",
    "Throttle",
    "TokenCheck",
    "Transport",
    "Workspace",
]
