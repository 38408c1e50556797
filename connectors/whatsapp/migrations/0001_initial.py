"""Callbacks as they arrived, and where their updates ended."""

import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("received_at", models.DateTimeField()),
                ("tenant_id", models.UUIDField()),
                ("size", models.IntegerField()),
                ("digest", models.BinaryField(max_length=32)),
                ("body", models.BinaryField()),
            ],
            options={
                "db_table": "webhook_deliveries",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="WebhookPending",
            fields=[
                ("delivery_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("received_at", models.DateTimeField()),
                ("tenant_id", models.UUIDField()),
                ("size", models.IntegerField(db_default=0, default=0)),
                ("attempts", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("tried_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "verbose_name": "pending callback",
                "db_table": "webhook_pending",
            },
        ),
        migrations.CreateModel(
            name="WebhookDead",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                (
                    "kind",
                    models.CharField(
                        choices=[("DEAD", "Dead"), ("QUARANTINE", "Quarantine")], max_length=16
                    ),
                ),
                ("reason", models.TextField()),
                ("field", models.CharField(blank=True, db_default="", default="", max_length=64)),
                (
                    "phone_number_id",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                ("sealed", models.BinaryField()),
                ("updates", models.PositiveIntegerField(db_default=1, default=1)),
                (
                    "positions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), null=True, size=None
                    ),
                ),
                ("delivery_id", models.BigIntegerField()),
                ("received_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[("OPEN", "Open"), ("REPLAYED", "Replayed")],
                        db_default="OPEN",
                        default="OPEN",
                        max_length=16,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(db_default=1, default=1)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "dead or quarantined update",
                "db_table": "webhook_dead",
                "indexes": [
                    models.Index(fields=["tenant_id", "state", "kind"], name="webhook_dead_open"),
                    models.Index(
                        fields=["tenant_id", "received_at"], name="webhook_dead_received"
                    ),
                    models.Index(fields=["id"], name="webhook_dead_by_id"),
                ],
            },
        ),
        migrations.CreateModel(
            name="WebhookLedger",
            fields=[
                ("tenant_id", models.UUIDField(primary_key=True, serialize=False)),
                ("callbacks", models.BigIntegerField(db_default=0, default=0)),
                ("updates", models.BigIntegerField(db_default=0, default=0)),
                ("processed", models.BigIntegerField(db_default=0, default=0)),
                ("quarantined", models.BigIntegerField(db_default=0, default=0)),
                ("dead", models.BigIntegerField(db_default=0, default=0)),
                ("duplicates", models.BigIntegerField(db_default=0, default=0)),
                ("unhandled", models.BigIntegerField(db_default=0, default=0)),
                ("purged_callbacks", models.BigIntegerField(db_default=0, default=0)),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "verbose_name": "ledger",
                "db_table": "webhook_ledger",
            },
        ),
        migrations.CreateModel(
            name="WebhookUnhandled",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("field", models.CharField(max_length=64)),
                ("kind", models.CharField(max_length=64)),
                ("count", models.BigIntegerField(default=0)),
                (
                    "first_seen_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "last_seen_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "verbose_name": "unhandled kind of update",
                "db_table": "webhook_unhandled",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "field", "kind"), name="webhook_unhandled_one_per_kind"
                    )
                ],
            },
        ),
    ]
