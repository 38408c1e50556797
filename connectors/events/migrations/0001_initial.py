"""Events to tenants' apps."""

import django.contrib.postgres.fields
import django.contrib.postgres.functions
import django.db.models.functions.datetime
from django.db import migrations, models

import lib.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="EventSubscription",
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
                ("url", models.URLField(max_length=2000)),
                (
                    "description",
                    models.CharField(blank=True, db_default="", default="", max_length=200),
                ),
                (
                    "types",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        db_default=[],
                        default=list,
                        size=None,
                    ),
                ),
                ("sealed_secrets", models.BinaryField()),
                ("disabled_at", models.DateTimeField(null=True)),
                ("disabled_reason", models.TextField(blank=True, db_default="", default="")),
                ("failing_since", models.DateTimeField(null=True)),
                ("resting_until", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "event_subscriptions",
                "indexes": [models.Index(fields=["id"], name="event_subscriptions_by_id")],
            },
        ),
        migrations.CreateModel(
            name="OutgoingEvent",
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
                ("type", models.CharField(max_length=64)),
                ("occurred_at", models.DateTimeField()),
                ("data", models.JSONField(db_default={}, default=dict)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "outgoing_events",
                "indexes": [
                    models.Index(
                        fields=["tenant_id", "-created_at"], name="outgoing_events_newest_first"
                    ),
                    models.Index(fields=["created_at"], name="outgoing_events_age"),
                ],
            },
        ),
        migrations.CreateModel(
            name="EventDelivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("event_id", models.UUIDField()),
                ("subscription_id", models.UUIDField()),
                ("attempts", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("next_attempt_at", models.DateTimeField(null=True)),
                ("delivered_at", models.DateTimeField(null=True)),
                ("dead_at", models.DateTimeField(null=True)),
                ("last_status", models.IntegerField(null=True)),
                (
                    "last_error",
                    models.CharField(blank=True, db_default="", default="", max_length=200),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "event deliveries",
                "db_table": "event_deliveries",
                "indexes": [
                    models.Index(fields=["id"], name="event_deliveries_by_id"),
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)),
                        fields=["tenant_id", "subscription_id", "next_attempt_at"],
                        name="event_deliveries_pending",
                    ),
                    models.Index(
                        fields=["tenant_id", "-created_at"], name="event_deliveries_newest"
                    ),
                    models.Index(
                        fields=["tenant_id", "subscription_id", "id"],
                        name="event_deliveries_listed",
                    ),
                    models.Index(
                        condition=models.Q(("delivered_at__isnull", False)),
                        fields=["delivered_at"],
                        name="event_deliveries_delivered",
                    ),
                    models.Index(
                        condition=models.Q(("dead_at__isnull", False)),
                        fields=["dead_at"],
                        name="event_deliveries_dead_age",
                    ),
                    models.Index(
                        condition=models.Q(("dead_at__isnull", False)),
                        fields=["tenant_id", "subscription_id", "id"],
                        name="event_deliveries_dead",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "event_id", "subscription_id"),
                        name="event_deliveries_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("dead_at", None),
                                ("delivered_at", None),
                                ("next_attempt_at__isnull", False),
                            ),
                            models.Q(
                                ("dead_at", None),
                                ("delivered_at__isnull", False),
                                ("next_attempt_at", None),
                            ),
                            models.Q(
                                ("dead_at__isnull", False),
                                ("delivered_at", None),
                                ("next_attempt_at", None),
                            ),
                            _connector="OR",
                        ),
                        name="event_deliveries_one_state",
                    ),
                ],
            },
        ),
    ]
