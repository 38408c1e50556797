"""Linked devices: one row per account that is linked, and one for who may hold its connection."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7
from workspaces.models import Workspace


class SessionState(models.TextChoices):
    """A session's state; ``reason``, ``since`` and ``until`` beside it say why, since when, and
    until when it will stay so by itself.
    """

    STOPPED = "STOPPED", "Stopped"
    WAITING = "WAITING", "Waiting for its start"
    STARTING = "STARTING", "Starting"
    PAIRING = "PAIRING", "Pairing"
    CONNECTED = "CONNECTED", "Connected"
    DISCONNECTED = "DISCONNECTED", "Disconnected, reconnecting"
    CONFLICT = "CONFLICT", "Replaced by another client"
    RATE_LIMITED = "RATE_LIMITED", "Asked to wait"
    BANNED = "BANNED", "Banned for a time"
    LOGGED_OUT = "LOGGED_OUT", "Logged out"
    OUTDATED = "OUTDATED", "Library outdated"
    FAILED = "FAILED", "Failed, starting again"


# These end when an operator decided what to do, not by themselves.
FINAL = frozenset({SessionState.CONFLICT, SessionState.OUTDATED, SessionState.LOGGED_OUT})
# These end by themselves, at a time that WhatsApp named: to ask sooner makes it later.
TIMED = frozenset({SessionState.RATE_LIMITED, SessionState.BANNED})
# These outlive the process that wrote them.
KEPT = FINAL | TIMED
# A living process passes through these within minutes.
PASSING = frozenset({SessionState.STARTING, SessionState.PAIRING, SessionState.DISCONNECTED})
# States that only a living process can be in.
LIVE = PASSING | {SessionState.CONNECTED}
# A session keeps these states until an operator does something about it.
NEEDS_OPERATOR = FINAL | {SessionState.BANNED, SessionState.FAILED}


class Wanted(models.TextChoices):
    """What the operator wants of a session; its supervisor acts on it."""

    STOPPED = "STOPPED"
    RUNNING = "RUNNING"


class PairBy(models.TextChoices):
    """How a phone is asked to link: it scans a QR code, or its owner types an eight-letter code."""

    QR = "QR", "QR code"
    CODE = "CODE", "Pairing code"


class SenderSession(models.Model):
    """A WhatsApp account that is linked as a device, of one workspace.

    ``home`` is the machine that has its store (empty: none yet). ``paired_at`` is NULL until a
    phone linked it and again after it was logged out. ``sealed_pairing`` is the QR text or pairing
    code of the moment, ``sealed_pair_number`` the number that a pairing code is for; both are
    sealed with the tenant's field key and removed when the pairing ends. ``stopped_at`` is when
    its last process disconnected.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace = models.OneToOneField(
        Workspace, on_delete=models.CASCADE, related_name="sender_session", db_constraint=False
    )
    home = models.CharField(max_length=128, blank=True, default="", db_default="")
    wanted = models.CharField(
        max_length=16, choices=Wanted, default=Wanted.STOPPED, db_default=Wanted.STOPPED
    )
    state = models.CharField(
        max_length=16,
        choices=SessionState,
        default=SessionState.STOPPED,
        db_default=SessionState.STOPPED,
    )
    reason = models.TextField(blank=True, default="", db_default="")
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(null=True)
    restart_asked_at = models.DateTimeField(null=True)
    pair_by = models.CharField(max_length=8, choices=PairBy, blank=True, default="", db_default="")
    sealed_pair_number = models.BinaryField(null=True)
    sealed_pairing = models.BinaryField(null=True)
    pairing_expires_at = models.DateTimeField(null=True)
    paired_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)
    # Starts in a row that ended before the session was steady; the pause before the next grows.
    failures = models.PositiveIntegerField(default=0, db_default=0)
    library = models.CharField(max_length=64, blank=True, default="", db_default="")
    device_platform = models.CharField(max_length=32, blank=True, default="", db_default="")
    push_name = models.CharField(max_length=128, blank=True, default="", db_default="")
    # A sign of life from WhatsApp's servers, whatever it was.
    last_event_at = models.DateTimeField(null=True)
    last_inbound_at = models.DateTimeField(null=True)
    last_sent_at = models.DateTimeField(null=True)
    backed_up_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "sender_sessions"
        verbose_name = "linked device"
        indexes = (
            models.Index(fields=("id",), name="sender_sessions_by_id"),
            models.Index(fields=("home", "wanted"), name="sender_sessions_of_a_host"),
        )

    def __str__(self) -> str:
        return str(self.workspace)

    @property
    def held_lease(self) -> SessionLease | None:
        """The lease, where a process has the session, or had it and did not give it back."""
        lease = getattr(self, "lease", None)
        return lease if lease is not None and lease.owner is not None else None

    def is_held(self, now: datetime) -> bool:
        """Return whether a process holds the session's connection."""
        lease = self.held_lease
        return lease is not None and lease.expires_at is not None and lease.expires_at > now


class SessionLease(models.Model):
    """Who may hold a session's connection to WhatsApp, by the database's clock.

    ``fencing_token`` grows with every new owner; a process that has an older one writes and sends
    nothing. The row stays when it is released, so that tokens never repeat.
    """

    session = models.OneToOneField(
        SenderSession,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="lease",
        db_constraint=False,
    )
    tenant_id = models.UUIDField()
    owner = models.UUIDField(null=True)
    host = models.CharField(max_length=128, blank=True, default="", db_default="")
    pid = models.IntegerField(default=0, db_default=0)
    fencing_token = models.BigIntegerField(default=0, db_default=0)
    acquired_at = models.DateTimeField(null=True)
    renewed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "session_leases"
        verbose_name = "lease"
        indexes = (models.Index(fields=("session",), name="session_leases_by_id"),)

    def __str__(self) -> str:
        return f"{self.host} {self.fencing_token}"


class StoreRemoval(models.Model):
    """A tenant that was erased: every session host removes what it has of them, whenever it is up.
    The id alone identifies no person.
    """

    erased_tenant = models.UUIDField(primary_key=True)
    asked_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "store_removals"

    def __str__(self) -> str:
        return str(self.erased_tenant)
