"""Templates, what was told of them, and their syncs."""

import django.contrib.postgres.functions
import django.db.models.functions.datetime
from django.db import migrations, models

import lib.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Template",
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
                ("waba_id", models.CharField(max_length=64)),
                ("platform_template_id", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=512)),
                ("language", models.CharField(max_length=32)),
                (
                    "category",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                (
                    "sub_category",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                ("status", models.CharField(max_length=64)),
                (
                    "parameter_format",
                    models.CharField(db_default="POSITIONAL", default="POSITIONAL", max_length=16),
                ),
                ("components", models.JSONField(db_default=[], default=list)),
                ("quality", models.CharField(blank=True, db_default="", default="", max_length=16)),
                (
                    "rejected_reason",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                (
                    "previous_category",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                ("ttl_seconds", models.IntegerField(null=True)),
                ("synced_at", models.DateTimeField()),
                ("status_at", models.DateTimeField(null=True)),
                ("quality_at", models.DateTimeField(null=True)),
                ("category_at", models.DateTimeField(null=True)),
                ("stale_at", models.DateTimeField(null=True)),
                ("deleted_at", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "templates",
                "indexes": [
                    models.Index(fields=["id"], name="templates_by_id"),
                    models.Index(
                        fields=["tenant_id", "waba_id", "platform_template_id"],
                        name="templates_platform_id",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "waba_id", "name", "language"),
                        name="templates_one_per_language",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TemplateSync",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("waba_id", models.CharField(max_length=64)),
                ("due_at", models.DateTimeField(null=True)),
                ("attempts", models.PositiveIntegerField(db_default=0, default=0)),
                ("synced_at", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True, db_default="", default="")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "template sync",
                "db_table": "template_syncs",
                "indexes": [models.Index(fields=["due_at"], name="template_syncs_due")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "waba_id"), name="template_syncs_one_per_account"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TemplateEventRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("waba_id", models.CharField(max_length=64)),
                ("template_id", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=512)),
                ("language", models.CharField(max_length=32)),
                ("change", models.CharField(max_length=64)),
                ("event", models.CharField(max_length=64)),
                ("reason", models.TextField(null=True)),
                ("details", models.JSONField(db_default={}, default=dict)),
                ("occurred_at", models.DateTimeField()),
                ("digest", models.BinaryField(max_length=32)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "template event",
                "db_table": "template_events",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "digest"), name="template_events_once"
                    )
                ],
            },
        ),
    ]
