"""Contacts, messages, and what sending keeps."""

import django.contrib.postgres.fields
import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import lib.ids
import messaging.events


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("workspaces", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Broadcast",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        default=lib.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("workspace_id", models.UUIDField()),
                ("name", models.CharField(max_length=200)),
                ("template_name", models.CharField(max_length=512)),
                ("language", models.CharField(max_length=32)),
                ("shared", models.JSONField(db_default={}, default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("DRAFT", "Draft"),
                            ("CHECKING", "Checking"),
                            ("REFUSED", "Refused"),
                            ("SCHEDULED", "Scheduled"),
                            ("RUNNING", "Running"),
                            ("PAUSED", "Paused"),
                            ("COMPLETED", "Completed"),
                            ("CANCELLED", "Cancelled"),
                        ],
                        db_default="DRAFT",
                        default="DRAFT",
                        max_length=16,
                    ),
                ),
                ("reason", models.TextField(blank=True, db_default="", default="")),
                ("skip_invalid", models.BooleanField(db_default=False, default=False)),
                ("checked_to", models.IntegerField(db_default=0, default=0)),
                ("judged_from", models.IntegerField(db_default=0, default=0)),
                ("judged_since", models.DateTimeField(null=True)),
                ("scheduled_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("purged_at", models.DateTimeField(null=True)),
                (
                    "created_by",
                    models.CharField(blank=True, db_default="", default="", max_length=150),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "broadcasts",
                "indexes": [
                    models.Index(fields=["id"], name="broadcasts_by_id"),
                    models.Index(
                        fields=["tenant_id", "-created_at"], name="broadcasts_newest_first"
                    ),
                    models.Index(
                        condition=models.Q(
                            ("ended_at", None),
                            models.Q(("state__in", ("DRAFT", "REFUSED")), _negated=True),
                        ),
                        fields=["state"],
                        name="broadcasts_live",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BroadcastRecipient",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("broadcast_id", models.UUIDField()),
                ("position", models.IntegerField()),
                ("digest", models.CharField(max_length=64)),
                ("sealed", models.BinaryField(null=True)),
                ("sealed_reference", models.BinaryField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("PENDING", "Pending"),
                            ("QUEUED", "Queued"),
                            ("REFUSED", "Refused"),
                            ("CANCELLED", "Cancelled"),
                        ],
                        db_default="PENDING",
                        default="PENDING",
                        max_length=16,
                    ),
                ),
                ("code", models.CharField(blank=True, db_default="", default="", max_length=64)),
                ("reason", models.TextField(blank=True, db_default="", default="")),
                ("message_id", models.UUIDField(null=True)),
                ("retries", models.SmallIntegerField(db_default=0, default=0)),
            ],
            options={
                "db_table": "broadcast_recipients",
                "indexes": [
                    models.Index(
                        fields=["tenant_id", "broadcast_id", "state", "position"],
                        name="broadcast_recipients_next",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "broadcast_id", "digest"),
                        name="broadcast_recipients_once",
                    ),
                    models.UniqueConstraint(
                        fields=("tenant_id", "broadcast_id", "position"),
                        name="broadcast_recipients_one_per_place",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Contact",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        default=lib.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("display_name", models.TextField(blank=True, db_default="", default="")),
                ("username", models.TextField(blank=True, db_default="", default="")),
                ("book_name", models.TextField(blank=True, db_default="", default="")),
                ("book_name_at", models.DateTimeField(editable=False, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True, db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                ("merged_into", models.UUIDField(editable=False, null=True)),
                ("settled_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "db_table": "contacts",
                "indexes": [
                    models.Index(fields=["id"], name="contacts_by_id"),
                    models.Index(
                        condition=models.Q(("merged_into__isnull", False)),
                        fields=["tenant_id", "merged_into"],
                        name="contacts_merged",
                    ),
                    models.Index(
                        condition=models.Q(("merged_into__isnull", False), ("settled_at", None)),
                        fields=["tenant_id", "id"],
                        name="contacts_unsettled",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ContactIdentity",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("digest", models.CharField(max_length=64)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("PHONE", "Phone"),
                            ("USER", "User"),
                            ("PARENT", "Parent"),
                            ("ALIAS", "Alias"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "contact",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="identities",
                        to="messaging.contact",
                    ),
                ),
                ("workspace_id", models.UUIDField(null=True)),
                ("since", models.DateTimeField(null=True)),
                ("phone", models.CharField(max_length=64, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "contact_identities",
                "indexes": [
                    models.Index(fields=["tenant_id", "contact"], name="contact_identities_of_one")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "digest"), name="contact_identities_one_contact"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        default=lib.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="workspaces.workspace",
                    ),
                ),
                (
                    "contact",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="messages",
                        to="messaging.contact",
                    ),
                ),
                (
                    "platform",
                    models.PositiveSmallIntegerField(
                        choices=[(5, "WhatsApp")], db_default=5, default=5
                    ),
                ),
                ("platform_message_id", models.CharField(max_length=64, null=True)),
                (
                    "direction",
                    models.CharField(
                        choices=[
                            (messaging.events.Direction["INBOUND"], "Inbound"),
                            (messaging.events.Direction["OUTBOUND"], "Outbound"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            (messaging.events.Source["LIVE"], "Live"),
                            (messaging.events.Source["ECHO"], "Echo"),
                            (messaging.events.Source["HISTORY"], "History"),
                            (messaging.events.Source["API"], "Api"),
                        ],
                        max_length=8,
                    ),
                ),
                ("type", models.CharField(max_length=64)),
                ("sender", models.CharField(db_default="", max_length=64)),
                ("text", models.TextField(null=True)),
                ("content", models.JSONField(db_default={}, default=dict)),
                ("inner_key", models.BigIntegerField(null=True)),
                ("reply_to", models.CharField(max_length=64, null=True)),
                ("reply_to_key", models.BigIntegerField(null=True)),
                ("group_id", models.CharField(max_length=64, null=True)),
                ("timestamp_utc", models.DateTimeField()),
                ("status", models.CharField(max_length=32, null=True)),
                ("delivery", models.JSONField(db_default={}, default=dict)),
                ("sealed_id", models.BinaryField(null=True)),
                ("sealed_values", models.BinaryField(null=True)),
                ("delivery_id", models.BigIntegerField(null=True)),
                ("delivery_day", models.DateField(null=True)),
                ("edited_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("client_reference", models.CharField(max_length=128, null=True)),
                ("request_digest", models.BinaryField(max_length=32, null=True)),
                ("broadcast_id", models.UUIDField(null=True)),
                ("attempts", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("expires_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "messages",
                "indexes": [
                    models.Index(fields=["id"], name="messages_by_id"),
                    models.Index(
                        models.F("workspace_id"),
                        models.OrderBy(models.F("timestamp_utc"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="messages_newest_first",
                    ),
                    models.Index(
                        condition=models.Q(("type__in", ("edit", "revoke"))),
                        fields=["tenant_id", "workspace", "reply_to"],
                        name="messages_amendments",
                    ),
                    models.Index(
                        condition=models.Q(("inner_key__isnull", False)),
                        fields=["inner_key"],
                        name="messages_by_inner_key",
                    ),
                    models.Index(
                        condition=models.Q(("reply_to_key__isnull", False)),
                        fields=["reply_to_key"],
                        name="messages_waiting",
                    ),
                    models.Index(
                        models.F("tenant_id"),
                        models.F("workspace_id"),
                        models.F("contact_id"),
                        models.OrderBy(models.F("timestamp_utc"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="messages_of_a_conversation",
                    ),
                    models.Index(
                        condition=models.Q(("broadcast_id__isnull", False)),
                        fields=["tenant_id", "broadcast_id"],
                        name="messages_of_a_broadcast",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "workspace", "platform_message_id"),
                        name="messages_one_per_platform_id",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("client_reference__isnull", False)),
                        fields=("tenant_id", "workspace", "client_reference"),
                        name="messages_one_per_reference",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MessageStatus",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("workspace_id", models.UUIDField()),
                ("platform_message_id", models.CharField(max_length=64)),
                ("status", models.CharField(max_length=32)),
                ("participant", models.CharField(db_default="", default="", max_length=80)),
                ("timestamp_utc", models.DateTimeField()),
                ("recipient", models.CharField(max_length=64, null=True)),
                ("errors", models.JSONField(null=True)),
                ("pricing", models.JSONField(null=True)),
                ("payment", models.JSONField(null=True)),
                ("sealed_values", models.BinaryField(null=True)),
                ("callback_data", models.TextField(null=True)),
                ("waiting_key", models.BigIntegerField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "receipt",
                "db_table": "message_statuses",
                "indexes": [
                    models.Index(fields=["id"], name="message_statuses_by_id"),
                    models.Index(
                        condition=models.Q(("waiting_key__isnull", False)),
                        fields=["waiting_key"],
                        name="message_statuses_waiting",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "tenant_id",
                            "workspace_id",
                            "platform_message_id",
                            "status",
                            "participant",
                        ),
                        name="message_statuses_one_per_receipt",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Media",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        default=lib.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("workspace_id", models.UUIDField()),
                (
                    "message",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="media",
                        to="messaging.message",
                    ),
                ),
                ("platform_media_id", models.CharField(max_length=256)),
                (
                    "mime_type",
                    models.CharField(blank=True, db_default="", default="", max_length=256),
                ),
                ("sha256", models.CharField(blank=True, db_default="", default="", max_length=128)),
                ("filename", models.TextField(blank=True, db_default="", default="")),
                ("size_bytes", models.BigIntegerField(null=True)),
                ("voice", models.BooleanField(db_default=False, default=False)),
                ("animated", models.BooleanField(db_default=False, default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[("AVAILABLE", "Available"), ("GONE", "Gone")],
                        db_default="AVAILABLE",
                        default="AVAILABLE",
                        max_length=16,
                    ),
                ),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "media",
                "db_table": "media",
                "indexes": [models.Index(fields=["id"], name="media_by_id")],
            },
        ),
        migrations.CreateModel(
            name="Conversation",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        default=lib.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("workspace_id", models.UUIDField()),
                ("contact_id", models.UUIDField()),
                ("last_message_id", models.UUIDField()),
                ("last_message_at", models.DateTimeField()),
                ("last_inbound_at", models.DateTimeField(null=True)),
                ("unread_count", models.PositiveIntegerField(db_default=0, default=0)),
                ("merged_into", models.UUIDField(editable=False, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "conversations",
                "indexes": [
                    models.Index(
                        models.F("tenant_id"),
                        models.F("workspace_id"),
                        models.OrderBy(models.F("last_message_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="conversations_newest_first",
                    ),
                    models.Index(
                        condition=models.Q(("merged_into__isnull", False)),
                        fields=["tenant_id", "merged_into"],
                        name="conversations_merged",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "workspace_id", "contact_id"),
                        name="conversations_one_per_contact",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PendingSend",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="pending",
                        serialize=False,
                        to="messaging.message",
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("workspace_id", models.UUIDField()),
                ("contact_id", models.UUIDField(null=True)),
                ("template_id", models.UUIDField(null=True)),
                ("broadcast_id", models.UUIDField(null=True)),
                ("type", models.CharField(max_length=64)),
                ("due_at", models.DateTimeField(null=True)),
                ("attempts", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("lease_until", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("reason", models.TextField(blank=True, db_default="", default="")),
                ("sealed_request", models.BinaryField()),
            ],
            options={
                "db_table": "outbox",
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)),
                        fields=["tenant_id", "workspace_id", "due_at"],
                        name="outbox_due",
                    ),
                    models.Index(
                        condition=models.Q(("lease_until__isnull", False)),
                        fields=["lease_until"],
                        name="outbox_leased",
                    ),
                    models.Index(
                        condition=models.Q(("broadcast_id__isnull", False)),
                        fields=["tenant_id", "broadcast_id"],
                        name="outbox_of_a_broadcast",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("due_at", None), ("lease_until", None), _connector="OR"
                        ),
                        name="outbox_due_or_leased",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="NumberState",
            fields=[
                (
                    "workspace",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="number",
                        serialize=False,
                        to="workspaces.workspace",
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                (
                    "portfolio_id",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                ("sealed_number", models.BinaryField(null=True)),
                (
                    "verified_name",
                    models.CharField(blank=True, db_default="", default="", max_length=256),
                ),
                ("status", models.CharField(blank=True, db_default="", default="", max_length=32)),
                (
                    "quality_rating",
                    models.CharField(blank=True, db_default="", default="", max_length=16),
                ),
                (
                    "messaging_limit",
                    models.CharField(blank=True, db_default="", default="", max_length=32),
                ),
                (
                    "throughput_level",
                    models.CharField(blank=True, db_default="", default="", max_length=32),
                ),
                (
                    "account_mode",
                    models.CharField(blank=True, db_default="", default="", max_length=16),
                ),
                ("is_on_business_app", models.BooleanField(db_default=False, default=False)),
                (
                    "can_send",
                    models.CharField(blank=True, db_default="", default="", max_length=16),
                ),
                ("problem", models.TextField(blank=True, db_default="", default="")),
                (
                    "test_recipients",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        db_default=[],
                        default=list,
                        size=None,
                    ),
                ),
                ("synced_at", models.DateTimeField(null=True)),
                ("sync_due_at", models.DateTimeField(null=True)),
                ("sync_error", models.TextField(blank=True, db_default="", default="")),
            ],
            options={
                "verbose_name": "number",
                "db_table": "number_states",
                "indexes": [models.Index(fields=["workspace"], name="number_states_by_id")],
            },
        ),
        migrations.CreateModel(
            name="SendingPause",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("workspace_id", models.UUIDField(null=True)),
                ("code", models.IntegerField()),
                ("reason", models.TextField()),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField(null=True)),
                ("lifted_at", models.DateTimeField(null=True)),
                (
                    "lifted_by",
                    models.CharField(blank=True, db_default="", default="", max_length=150),
                ),
            ],
            options={
                "db_table": "sending_pauses",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("lifted_at", None)),
                        fields=("tenant_id", "workspace_id", "code"),
                        name="sending_pauses_one_open",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OptOut",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("contact_id", models.UUIDField()),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("WORD", "Wrote a stop word"),
                            ("PLATFORM", "Told the platform"),
                            ("API", "Entered by the tenant"),
                            ("NUMBER", "Said by whoever had the number before"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "said_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("lifted_at", models.DateTimeField(null=True)),
                (
                    "lifted_by",
                    models.CharField(blank=True, db_default="", default="", max_length=16),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "opt-out",
                "db_table": "opt_outs",
                "indexes": [
                    models.Index(
                        models.F("tenant_id"),
                        models.OrderBy(models.F("said_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        condition=models.Q(("lifted_at", None)),
                        name="opt_outs_newest_first",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "contact_id"), name="opt_outs_one_per_contact"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SendingPolicy",
            fields=[
                ("tenant_id", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "stop_words",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40),
                        db_default=[],
                        default=list,
                        size=None,
                    ),
                ),
                (
                    "start_words",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40),
                        db_default=[],
                        default=list,
                        size=None,
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True, db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
            ],
            options={
                "verbose_name": "sending policy",
                "verbose_name_plural": "sending policies",
                "db_table": "sending_policies",
            },
        ),
        migrations.CreateModel(
            name="PortfolioRecipient",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("portfolio_id", models.CharField(max_length=64)),
                ("contact_id", models.UUIDField()),
                ("opened_at", models.DateTimeField()),
            ],
            options={
                "db_table": "portfolio_recipients",
                "indexes": [
                    models.Index(
                        fields=["tenant_id", "portfolio_id", "opened_at"],
                        name="portfolio_recipients_window",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "portfolio_id", "contact_id"),
                        name="portfolio_recipients_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ReadMark",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("workspace_id", models.UUIDField()),
                ("message_id", models.UUIDField()),
                ("typing", models.BooleanField(db_default=False, default=False)),
                ("attempts", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("next_attempt_at", models.DateTimeField()),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "read_marks",
                "indexes": [models.Index(fields=["next_attempt_at"], name="read_marks_due")],
            },
        ),
    ]
