"""Sessions of linked devices, and who may hold each."""

import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import lib.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("workspaces", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="SenderSession",
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
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sender_session",
                        to="workspaces.workspace",
                    ),
                ),
                ("home", models.CharField(blank=True, db_default="", default="", max_length=128)),
                (
                    "wanted",
                    models.CharField(
                        choices=[("STOPPED", "Stopped"), ("RUNNING", "Running")],
                        db_default="STOPPED",
                        default="STOPPED",
                        max_length=16,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("STOPPED", "Stopped"),
                            ("WAITING", "Waiting for its start"),
                            ("STARTING", "Starting"),
                            ("PAIRING", "Pairing"),
                            ("CONNECTED", "Connected"),
                            ("DISCONNECTED", "Disconnected, reconnecting"),
                            ("CONFLICT", "Replaced by another client"),
                            ("RATE_LIMITED", "Asked to wait"),
                            ("BANNED", "Banned for a time"),
                            ("LOGGED_OUT", "Logged out"),
                            ("OUTDATED", "Library outdated"),
                            ("FAILED", "Failed, starting again"),
                        ],
                        db_default="STOPPED",
                        default="STOPPED",
                        max_length=16,
                    ),
                ),
                ("reason", models.TextField(blank=True, db_default="", default="")),
                (
                    "since",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("until", models.DateTimeField(null=True)),
                ("restart_asked_at", models.DateTimeField(null=True)),
                (
                    "pair_by",
                    models.CharField(
                        blank=True,
                        choices=[("QR", "QR code"), ("CODE", "Pairing code")],
                        db_default="",
                        default="",
                        max_length=8,
                    ),
                ),
                ("sealed_pair_number", models.BinaryField(null=True)),
                ("sealed_pairing", models.BinaryField(null=True)),
                ("pairing_expires_at", models.DateTimeField(null=True)),
                ("paired_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("stopped_at", models.DateTimeField(null=True)),
                ("failures", models.PositiveIntegerField(db_default=0, default=0)),
                ("library", models.CharField(blank=True, db_default="", default="", max_length=64)),
                (
                    "device_platform",
                    models.CharField(blank=True, db_default="", default="", max_length=32),
                ),
                (
                    "push_name",
                    models.CharField(blank=True, db_default="", default="", max_length=128),
                ),
                ("last_event_at", models.DateTimeField(null=True)),
                ("last_inbound_at", models.DateTimeField(null=True)),
                ("last_sent_at", models.DateTimeField(null=True)),
                ("backed_up_at", models.DateTimeField(null=True)),
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
            ],
            options={
                "verbose_name": "linked device",
                "db_table": "sender_sessions",
                "indexes": [
                    models.Index(fields=["id"], name="sender_sessions_by_id"),
                    models.Index(fields=["home", "wanted"], name="sender_sessions_of_a_host"),
                ],
            },
        ),
        migrations.CreateModel(
            name="SessionLease",
            fields=[
                (
                    "session",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="lease",
                        serialize=False,
                        to="linked_device.sendersession",
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("owner", models.UUIDField(null=True)),
                ("host", models.CharField(blank=True, db_default="", default="", max_length=128)),
                ("pid", models.IntegerField(db_default=0, default=0)),
                ("fencing_token", models.BigIntegerField(db_default=0, default=0)),
                ("acquired_at", models.DateTimeField(null=True)),
                ("renewed_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "lease",
                "db_table": "session_leases",
                "indexes": [models.Index(fields=["session"], name="session_leases_by_id")],
            },
        ),
        migrations.CreateModel(
            name="StoreRemoval",
            fields=[
                ("erased_tenant", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "asked_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "store_removals",
            },
        ),
    ]
