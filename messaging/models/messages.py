"""Contacts, messages, statuses and media, without a phone number in plaintext anywhere."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7
from messaging.conversation_states import ConversationState
from messaging.events import Direction, Source
from messaging.sealed_values import shortened
from workspaces.models import ArchiveKey, Platform, Workspace


class Contact(models.Model):
    """A person a tenant talks with.

    One that turned out to be a person known already stays as an alias: ``merged_into`` is the
    contact that they are, never an alias itself. ``settled_at`` says that no message names the
    alias any more. ``book_name`` is what the business calls the person since ``book_name_at``,
    shown where there is no ``display_name``, the one that the person told. Names that give a number
    away are sealed (`messaging.sealed_values.keep_name`).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    display_name = models.TextField(blank=True, default="", db_default="")
    username = models.TextField(blank=True, default="", db_default="")
    book_name = models.TextField(blank=True, default="", db_default="")
    book_name_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())
    merged_into = models.UUIDField(null=True, editable=False)
    settled_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "contacts"
        indexes = (
            models.Index(fields=("id",), name="contacts_by_id"),  # the admin's lists
            models.Index(
                fields=("tenant_id", "merged_into"),
                name="contacts_merged",
                condition=models.Q(merged_into__isnull=False),
            ),
            models.Index(
                fields=("tenant_id", "id"),
                name="contacts_unsettled",
                condition=models.Q(merged_into__isnull=False, settled_at=None),
            ),
        )

    def __str__(self) -> str:
        return shortened(self.display_name or self.book_name) or str(self.id)


class IdentityKind(models.TextChoices):
    """What a digest was made of: a phone number, a BSUID, a parent BSUID, or (an alias) another way
    to write the phone number.
    """

    PHONE = "PHONE"
    USER = "USER"
    PARENT = "PARENT"
    ALIAS = "ALIAS"


class ContactIdentity(models.Model):
    """A keyed digest under which a contact is known; one digest leads to one contact.

    ``workspace_id`` is the number that told of it: user ids are given out per portfolio. ``since``
    is when it became the contact's. ``phone`` is the digest of the number that a user id was told
    with: a person who changes their number gets other ids. ``address`` is what the digest was made
    of, sealed, as it was seen on the ``address_day`` (`messaging.addresses`).
    """

    tenant_id = models.UUIDField()
    digest = models.CharField(max_length=64)
    kind = models.CharField(max_length=8, choices=IdentityKind)
    contact = models.ForeignKey(
        Contact,
        on_delete=models.CASCADE,
        related_name="identities",
        db_constraint=False,
        db_index=False,
    )
    workspace_id = models.UUIDField(null=True)
    since = models.DateTimeField(null=True)
    phone = models.CharField(max_length=64, null=True)  # noqa: DJ001 - NULL: not told with one
    address = models.BinaryField(null=True)
    address_day = models.DateField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "contact_identities"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "digest"), name="contact_identities_one_contact"
            ),
        )
        indexes = (models.Index(fields=("tenant_id", "contact"), name="contact_identities_of_one"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:8]}…"


class Message(models.Model):
    """One message; ``platform_message_id`` and ``sender`` are keyed digests, ``sealed_id`` the
    wamid, ``sealed_values`` what ``text`` and ``content`` must not hold.

    ``inner_key`` is a keyed digest of the number and the key inside the wamid (`references`);
    ``reply_to_key`` that of the message which ``reply_to`` means, while no such message is known.
    ``delivery_id`` and ``delivery_day`` point at the Raw callback it came from, while that is kept.
    A message of ours has no ``platform_message_id`` until the platform took it; while it waits to
    be sent, and while it is sent, there is a `PendingSend` of it. ``attempts`` is the number of the
    last attempt that may have left, or of the last one at all when there are no more to come.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace = models.ForeignKey(
        Workspace,
        on_delete=models.CASCADE,
        related_name="messages",
        db_constraint=False,
        db_index=False,
    )
    contact = models.ForeignKey(
        Contact,
        on_delete=models.SET_NULL,
        null=True,
        related_name="messages",
        db_constraint=False,
        db_index=False,
    )
    platform = models.PositiveSmallIntegerField(
        choices=Platform, default=Platform.WHATS_APP, db_default=Platform.WHATS_APP
    )
    platform_message_id = models.CharField(max_length=64, null=True)  # noqa: DJ001
    direction = models.CharField(max_length=8, choices=[(d, d.title()) for d in Direction])
    source = models.CharField(max_length=8, choices=[(s, s.title()) for s in Source])
    type = models.CharField(max_length=64)
    sender = models.CharField(max_length=64, db_default="")
    text = models.TextField(null=True)  # noqa: DJ001 - NULL: this kind of message has no text
    content = models.JSONField(default=dict, db_default={})
    inner_key = models.BigIntegerField(null=True)
    reply_to = models.CharField(max_length=64, null=True)  # noqa: DJ001
    reply_to_key = models.BigIntegerField(null=True)
    group_id = models.CharField(max_length=64, null=True)  # noqa: DJ001
    timestamp_utc = models.DateTimeField()
    status = models.CharField(max_length=32, null=True)  # noqa: DJ001 - NULL: nothing heard yet
    delivery = models.JSONField(default=dict, db_default={})
    sealed_id = models.BinaryField(null=True)
    sealed_values = models.BinaryField(null=True)
    delivery_id = models.BigIntegerField(null=True)
    delivery_day = models.DateField(null=True)
    edited_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    client_reference = models.CharField(max_length=128, null=True)  # noqa: DJ001
    request_digest = models.BinaryField(max_length=32, null=True)
    broadcast_id = models.UUIDField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "messages"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "workspace", "platform_message_id"),
                name="messages_one_per_platform_id",
            ),
            models.UniqueConstraint(
                fields=("tenant_id", "workspace", "client_reference"),
                name="messages_one_per_reference",
                condition=models.Q(client_reference__isnull=False),
            ),
        )
        indexes = (
            models.Index(fields=("id",), name="messages_by_id"),  # the admin's lists
            # By the number alone: it is one tenant's, and who asks in SQL names it alone.
            models.Index(
                models.F("workspace_id"),
                models.F("timestamp_utc").desc(),
                models.F("id").desc(),
                name="messages_newest_first",
            ),
            models.Index(
                fields=("tenant_id", "workspace", "reply_to"),
                name="messages_amendments",
                condition=models.Q(type__in=("edit", "revoke")),
            ),
            models.Index(
                fields=("inner_key",),
                name="messages_by_inner_key",
                condition=models.Q(inner_key__isnull=False),
            ),
            models.Index(
                fields=("reply_to_key",),
                name="messages_waiting",
                condition=models.Q(reply_to_key__isnull=False),
            ),
            models.Index(
                models.F("tenant_id"),
                models.F("workspace_id"),
                models.F("contact_id"),
                models.F("timestamp_utc").desc(),
                models.F("id").desc(),
                name="messages_of_a_conversation",
            ),
            models.Index(
                fields=("tenant_id", "broadcast_id"),
                name="messages_of_a_broadcast",
                condition=models.Q(broadcast_id__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class MessageStatus(models.Model):
    """One receipt as Meta reported it; ``messages.status`` is a projection of these, but for those
    of payments. ``sealed_values`` is what ``errors``, ``payment`` and ``callback_data`` must not
    hold.

    ``platform_message_id`` is that of its message, whichever of two ids the receipt named;
    ``waiting_key`` is set while no message of that id is known.
    """

    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    platform_message_id = models.CharField(max_length=64)
    status = models.CharField(max_length=32)
    participant = models.CharField(max_length=80, default="", db_default="")
    timestamp_utc = models.DateTimeField()
    recipient = models.CharField(max_length=64, null=True)  # noqa: DJ001
    errors = models.JSONField(null=True)
    pricing = models.JSONField(null=True)
    payment = models.JSONField(null=True)
    sealed_values = models.BinaryField(null=True)
    callback_data = models.TextField(null=True)  # noqa: DJ001
    waiting_key = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "message_statuses"
        verbose_name = "receipt"
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant_id",
                    "workspace_id",
                    "platform_message_id",
                    "status",
                    "participant",
                ),
                name="message_statuses_one_per_receipt",
            ),
        )
        indexes = (
            models.Index(fields=("id",), name="message_statuses_by_id"),  # the admin's lists
            models.Index(
                fields=("waiting_key",),
                name="message_statuses_waiting",
                condition=models.Q(waiting_key__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.status


class MediaState(models.TextChoices):
    """Whether Meta can still be asked for the file (seven days for files from webhooks)."""

    AVAILABLE = "AVAILABLE"
    GONE = "GONE"


class ArchiveState(models.TextChoices):
    """What became of a file that its tenant's archive wants; ``NULL``: it wants none."""

    PENDING = "PENDING"
    KEPT = "KEPT"
    LOST = "LOST"
    REFUSED = "REFUSED"
    REMOVED = "REMOVED"


class ArchiveError(models.TextChoices):
    """Why a file is not in the archive (yet)."""

    PLATFORM_AWAY = "PLATFORM_AWAY"
    PLATFORM_REJECTED = "PLATFORM_REJECTED"
    NOT_CONFIGURED = "NOT_CONFIGURED"
    MEDIA_GONE = "MEDIA_GONE"
    TOO_LARGE = "TOO_LARGE"
    SIZE_MISMATCH = "SIZE_MISMATCH"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    STORAGE_AWAY = "STORAGE_AWAY"
    SCANNER_AWAY = "SCANNER_AWAY"
    INFECTED = "INFECTED"
    FAILED = "FAILED"


class Media(models.Model):
    """Metadata of a message's file; the bytes are fetched from Meta when somebody asks, or kept.

    One that is kept lies in the storage under ``archived_as``, sealed under the key that
    ``archived_key`` says, and ``archived_day``, the UTC day it came on, tells when it goes
    (``NULL``: at once). ``thumbnail_bytes`` is the size of its thumbnail, if it has one. The
    columns of the archive are ``NULL`` where the tenant has none.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    message = models.OneToOneField(
        Message, on_delete=models.CASCADE, related_name="media", db_constraint=False
    )
    platform_media_id = models.CharField(max_length=256)
    mime_type = models.CharField(max_length=256, blank=True, default="", db_default="")
    sha256 = models.CharField(max_length=128, blank=True, default="", db_default="")
    filename = models.TextField(blank=True, default="", db_default="")
    size_bytes = models.BigIntegerField(null=True)
    voice = models.BooleanField(default=False, db_default=False)
    animated = models.BooleanField(default=False, db_default=False)
    state = models.CharField(
        max_length=16,
        choices=MediaState,
        default=MediaState.AVAILABLE,
        db_default=MediaState.AVAILABLE,
    )
    expires_at = models.DateTimeField(null=True)
    archive_state = models.CharField(max_length=16, choices=ArchiveState, null=True)  # noqa: DJ001
    archive_error = models.CharField(max_length=32, null=True)  # noqa: DJ001
    archived_as = models.UUIDField(null=True)
    archived_key = models.CharField(max_length=8, choices=ArchiveKey, null=True)  # noqa: DJ001
    archived_day = models.DateField(null=True)
    thumbnail_bytes = models.IntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "media"
        verbose_name_plural = "media"
        indexes = (
            models.Index(fields=("id",), name="media_by_id"),  # the admin's lists
            models.Index(
                fields=("tenant_id", "archived_day"),
                name="media_archived",
                condition=models.Q(archived_as__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.mime_type} {self.id}"


class PendingFetch(models.Model):
    """A file that has to be fetched for the archive; gone once it is kept, or cannot be.

    ``due_at`` is when it is fetched next; while somebody fetches it, ``lease_until`` says for how
    long. What the storage may have under ``stored_as`` is removed before anything else: a row
    without a file is there for that only.
    """

    media_id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    due_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    stored_as = models.UUIDField(null=True)

    class Meta:
        db_table = "archive_fetches"
        indexes = (
            models.Index(fields=("tenant_id", "due_at"), name="archive_fetches_due"),
            models.Index(
                fields=("tenant_id", "lease_until"),
                name="archive_fetches_leased",
                condition=models.Q(lease_until__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return str(self.media_id)


class Conversation(models.Model):
    """One person's thread with one number: kept up in the transaction that stores a message.

    ``last_inbound_at`` opens the customer care window (24 hours; Meta, "Send messages": Customer
    service windows). ``unread_count`` counts live messages of the person since somebody of the
    business marked one as read. Where two threads turned out to be one person's, the one that was
    ``merged_into`` the other only leads there. ``snoozed_until`` is set while it is snoozed, and
    then only; ``reopened_at`` is the transaction in which the person last opened it again.
    ``assignee_id`` is a user, who may have left the tenant since; of ``label_ids`` some may have
    been deleted.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    contact_id = models.UUIDField()
    last_message_id = models.UUIDField()
    last_message_at = models.DateTimeField()
    last_inbound_at = models.DateTimeField(null=True)
    unread_count = models.PositiveIntegerField(default=0, db_default=0)
    merged_into = models.UUIDField(null=True, editable=False)
    state = models.CharField(
        max_length=8,
        choices=[(s.value, s.title()) for s in ConversationState],
        default=ConversationState.OPEN.value,
        db_default=ConversationState.OPEN.value,
    )
    snoozed_until = models.DateTimeField(null=True)
    reopened_at = models.DateTimeField(null=True)
    assignee_id = models.IntegerField(null=True)
    label_ids = ArrayField(models.UUIDField(), default=list, db_default=[])
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "conversations"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "workspace_id", "contact_id"),
                name="conversations_one_per_contact",
            ),
            models.CheckConstraint(
                condition=models.Q(state="SNOOZED", snoozed_until__isnull=False)
                | models.Q(~models.Q(state="SNOOZED"), snoozed_until=None),
                name="conversations_snoozed_until_a_time",
            ),
        )
        indexes = (
            models.Index(
                models.F("tenant_id"),
                models.F("workspace_id"),
                models.F("last_message_at").desc(),
                models.F("id").desc(),
                name="conversations_newest_first",
            ),
            # A conversation that a message comes to is open, or is opened by it: kept for open
            # ones, this would cost each message a write. They are the newest as it is.
            models.Index(
                models.F("tenant_id"),
                models.F("workspace_id"),
                models.F("state"),
                models.F("last_message_at").desc(),
                models.F("id").desc(),
                name="conversations_by_state",
                condition=~models.Q(state="OPEN"),
            ),
            # Whoever is nobody's costs nothing here.
            models.Index(
                models.F("tenant_id"),
                models.F("workspace_id"),
                models.F("assignee_id"),
                models.F("last_message_at").desc(),
                models.F("id").desc(),
                name="conversations_by_assignee",
                condition=models.Q(assignee_id__isnull=False),
            ),
            # Nor whoever has no label.
            models.Index(
                models.F("tenant_id"),
                models.F("workspace_id"),
                models.F("last_message_at").desc(),
                models.F("id").desc(),
                name="conversations_labelled",
                condition=~models.Q(label_ids=[]),
            ),
            models.Index(
                fields=("tenant_id", "snoozed_until"),
                name="conversations_snoozed",
                condition=models.Q(snoozed_until__isnull=False),
            ),
            models.Index(
                fields=("tenant_id", "merged_into"),
                name="conversations_merged",
                condition=models.Q(merged_into__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return str(self.id)
