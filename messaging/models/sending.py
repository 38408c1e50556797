"""What sending has to know beside the messages: pending sends, numbers, pauses, limits."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from messaging.models.messages import Message
from workspaces.models import Workspace


class PendingSend(models.Model):
    """The work that a message of ours still is: one row from when it is queued until its outcome.

    Without a lease it waits: for its time (``due_at``) or, suspended, for whoever makes it due
    again (NULL: its broadcast is paused). With a lease somebody is sending it. ``sealed_request``
    is what is sent, the same bytes at every attempt; ``attempts`` counts the claims; ``reason``
    says why it was deferred; ``expires_at`` is the message's own, so that a claim reads this table
    alone.

    The row is deleted with the step to every other state (:mod:`messaging.states`). To ``unknown``
    as well: the request may have left, so nobody may send it again, nobody has a use for it, and
    the person's number in it is not kept for nothing. To ``held`` too: the platform has it.
    """

    message = models.OneToOneField(
        Message,
        primary_key=True,
        on_delete=models.CASCADE,  # by the database, too
        related_name="pending",
        db_constraint=False,
    )
    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    contact_id = models.UUIDField(null=True)
    template_id = models.UUIDField(null=True)
    broadcast_id = models.UUIDField(null=True)
    type = models.CharField(max_length=64)
    due_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    lease_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True, default="", db_default="")
    sealed_request = models.BinaryField()

    class Meta:
        db_table = "outbox"
        constraints = (
            models.CheckConstraint(
                name="outbox_due_or_leased",
                condition=models.Q(due_at=None) | models.Q(lease_until=None),
            ),
        )
        indexes = (
            models.Index(
                fields=("tenant_id", "workspace_id", "due_at"),
                name="outbox_due",
                condition=models.Q(due_at__isnull=False),
            ),
            models.Index(
                fields=("lease_until",),
                name="outbox_leased",
                condition=models.Q(lease_until__isnull=False),
            ),
            models.Index(
                fields=("tenant_id", "broadcast_id"),
                name="outbox_of_a_broadcast",
                condition=models.Q(broadcast_id__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return str(self.message_id)


class NumberState(models.Model):
    """What the platform last said about a workspace's number; synced, never edited by hand.

    The words are Meta's ("Business phone numbers", fields of the phone number node). An empty text
    means: not told yet.
    """

    workspace = models.OneToOneField(
        Workspace,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="number",
        db_constraint=False,
    )
    tenant_id = models.UUIDField()
    portfolio_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    # The number itself, under the tenant's field key; people see it masked.
    sealed_number = models.BinaryField(null=True)
    verified_name = models.CharField(max_length=256, blank=True, default="", db_default="")
    status = models.CharField(max_length=32, blank=True, default="", db_default="")
    quality_rating = models.CharField(max_length=16, blank=True, default="", db_default="")
    messaging_limit = models.CharField(max_length=32, blank=True, default="", db_default="")
    throughput_level = models.CharField(max_length=32, blank=True, default="", db_default="")
    account_mode = models.CharField(max_length=16, blank=True, default="", db_default="")
    is_on_business_app = models.BooleanField(default=False, db_default=False)
    can_send = models.CharField(max_length=16, blank=True, default="", db_default="")
    problem = models.TextField(blank=True, default="", db_default="")
    # Digests of the numbers a test number may write to (at most five); empty: not told to us.
    test_recipients = ArrayField(models.CharField(max_length=64), default=list, db_default=[])
    synced_at = models.DateTimeField(null=True)
    # When it is asked about next (NULL: as soon as possible), and why the last time gave nothing.
    sync_due_at = models.DateTimeField(null=True)
    sync_error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        db_table = "number_states"
        verbose_name = "number"
        indexes = (models.Index(fields=("workspace",), name="number_states_by_id"),)

    def __str__(self) -> str:
        return self.verified_name or str(self.workspace_id)


class SendingPause(models.Model):
    """Why nothing is sent for a workspace, or (without one) for the whole tenant: a circuit that is
    open until somebody lifts it or ``until`` has come.
    """

    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField(null=True)
    code = models.IntegerField()
    reason = models.TextField()
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=150, blank=True, default="", db_default="")

    class Meta:
        db_table = "sending_pauses"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "workspace_id", "code"),
                name="sending_pauses_one_open",
                condition=models.Q(lifted_at=None),
                nulls_distinct=False,
            ),
        )

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class OptOutSource(models.TextChoices):
    """How we learned that a person wants no marketing."""

    WORD = "WORD", "Wrote a stop word"
    PLATFORM = "PLATFORM", "Told the platform"
    API = "API", "Entered by the tenant"
    NUMBER = "NUMBER", "Said by whoever had the number before"


class OptOut(models.Model):
    """A person who wants no marketing templates of this tenant, until ``lifted_at``.

    Both times are those at which it was said, not when we heard of it. ``lifted_by`` is the source
    of that, or ``MERGED``: the wish went to the contact that this one was merged into.
    """

    tenant_id = models.UUIDField()
    contact_id = models.UUIDField()
    source = models.CharField(max_length=16, choices=OptOutSource)
    said_at = models.DateTimeField(db_default=Now())
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=16, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "opt_outs"
        verbose_name = "opt-out"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "contact_id"), name="opt_outs_one_per_contact"
            ),
        )
        indexes = (
            models.Index(
                models.F("tenant_id"),
                models.F("said_at").desc(),
                models.F("id").desc(),
                name="opt_outs_newest_first",
                condition=models.Q(lifted_at=None),
            ),
        )

    def __str__(self) -> str:
        return f"{self.contact_id} ({self.source})"


class SendingPolicy(models.Model):
    """A tenant's own rules; without a row the defaults of ``messaging.optouts`` hold."""

    tenant_id = models.UUIDField(primary_key=True)
    stop_words = ArrayField(models.CharField(max_length=40), default=list, db_default=[])
    start_words = ArrayField(models.CharField(max_length=40), default=list, db_default=[])
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "sending_policies"
        verbose_name = "sending policy"
        verbose_name_plural = "sending policies"

    def __str__(self) -> str:
        return str(self.tenant_id)


class PortfolioRecipient(models.Model):
    """A person a business portfolio wrote to first; those of 24 hours count against its limit.

    Rule: Meta, "Messaging limits": unique users in a moving 24 hours, outside service windows.
    """

    tenant_id = models.UUIDField()
    portfolio_id = models.CharField(max_length=64)
    contact_id = models.UUIDField()
    opened_at = models.DateTimeField()

    class Meta:
        db_table = "portfolio_recipients"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "portfolio_id", "contact_id"),
                name="portfolio_recipients_once",
            ),
        )
        indexes = (
            models.Index(
                fields=("tenant_id", "portfolio_id", "opened_at"),
                name="portfolio_recipients_window",
            ),
        )

    def __str__(self) -> str:
        return f"{self.portfolio_id} {self.contact_id}"


class ReadMark(models.Model):
    """A message of a person whose read mark (and typing indicator) is pending."""

    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    message_id = models.UUIDField()
    typing = models.BooleanField(default=False, db_default=False)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "read_marks"
        indexes = (models.Index(fields=("next_attempt_at",), name="read_marks_due"),)

    def __str__(self) -> str:
        return str(self.message_id)
