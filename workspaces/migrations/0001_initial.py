"""Tenants, their numbers, keys and people; what processes say of themselves."""

import django.contrib.postgres.fields
import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import lib.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.CreateModel(
            name="Tenant",
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
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("retention_days", models.PositiveSmallIntegerField(db_default=30, default=30)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("ACTIVE", "Active"),
                            ("SUSPENDED", "Suspended"),
                            ("ERASING", "Erasing"),
                        ],
                        db_default="ACTIVE",
                        default="ACTIVE",
                        max_length=16,
                    ),
                ),
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
                "db_table": "tenants",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("retention_days__gte", 1), ("retention_days__lte", 3650)
                        ),
                        name="tenants_retention_between_1_and_3650_days",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TenantKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="keys",
                        to="workspaces.tenant",
                    ),
                ),
                (
                    "purpose",
                    models.CharField(choices=[("SALT", "Salt"), ("FIELD", "Field")], max_length=8),
                ),
                ("version", models.PositiveSmallIntegerField(db_default=1, default=1)),
                ("wrapped", models.BinaryField()),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "tenant_keys",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "purpose", "version"), name="tenant_keys_one_per_version"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RawKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("day", models.DateField()),
                ("wrapped", models.BinaryField()),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "raw_keys",
                "indexes": [models.Index(fields=["id"], name="raw_keys_by_id")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "day"), name="raw_keys_one_per_day"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TenantSecret",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="secrets",
                        to="workspaces.tenant",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("APP_SECRET", "App secret"),
                            ("VERIFY_TOKEN", "Verify token"),
                            ("ACCESS_TOKEN", "Access token"),
                        ],
                        max_length=16,
                    ),
                ),
                ("label", models.CharField(blank=True, db_default="", default="", max_length=100)),
                ("sealed", models.BinaryField()),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "secret",
                "db_table": "tenant_secrets",
                "indexes": [models.Index(fields=["id"], name="tenant_secrets_by_id")],
            },
        ),
        migrations.CreateModel(
            name="TokenCheck",
            fields=[
                (
                    "secret",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="token_check",
                        serialize=False,
                        to="workspaces.tenantsecret",
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                (
                    "kind",
                    models.CharField(
                        db_default="ACCESS_TOKEN", default="ACCESS_TOKEN", max_length=16
                    ),
                ),
                ("checked_at", models.DateTimeField()),
                ("is_valid", models.BooleanField()),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        db_default=[],
                        default=list,
                        size=None,
                    ),
                ),
                (
                    "account_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        db_default=[],
                        default=list,
                        size=None,
                    ),
                ),
                ("problem", models.TextField(blank=True, db_default="", default="")),
                ("app_secret_id", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "token_checks",
                "indexes": [models.Index(fields=["secret"], name="token_checks_by_id")],
            },
        ),
        migrations.CreateModel(
            name="Workspace",
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
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="workspaces",
                        to="workspaces.tenant",
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "platform",
                    models.PositiveSmallIntegerField(choices=[(5, "WhatsApp")], default=5),
                ),
                ("external_id", models.CharField(max_length=64, verbose_name="phone number ID")),
                (
                    "waba_id",
                    models.CharField(
                        blank=True, db_default="", default="", max_length=64, verbose_name="WABA ID"
                    ),
                ),
                (
                    "transport",
                    models.CharField(
                        choices=[("CLOUD_API", "Cloud API"), ("LINKED_DEVICE", "Linked device")],
                        db_default="CLOUD_API",
                        default="CLOUD_API",
                        max_length=32,
                    ),
                ),
                ("is_active", models.BooleanField(db_default=True, default=True)),
                (
                    "number_proof",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (0, "none: somebody typed it"),
                            (1, "a callback signed with the tenant's own app secret"),
                            (2, "the tenant's access token reads it"),
                        ],
                        db_default=0,
                        default=0,
                        editable=False,
                    ),
                ),
                (
                    "account_proof",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (0, "none: somebody typed it"),
                            (1, "a callback signed with the tenant's own app secret"),
                            (2, "the tenant's access token reads it"),
                        ],
                        db_default=0,
                        default=0,
                        editable=False,
                    ),
                ),
                ("number_proven_at", models.DateTimeField(editable=False, null=True)),
                ("account_proven_at", models.DateTimeField(editable=False, null=True)),
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
                "db_table": "workspaces",
                "indexes": [
                    models.Index(fields=["id"], name="workspaces_by_id"),
                    models.Index(fields=["external_id"], name="workspaces_external_id"),
                    models.Index(fields=["waba_id"], name="workspaces_waba_id"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "platform", "external_id"),
                        name="workspaces_one_per_phone_number",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DirectoryVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "directory_version",
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
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
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_keys",
                        to="workspaces.tenant",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_keys",
                        to="workspaces.workspace",
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("prefix", models.CharField(max_length=16)),
                ("digest", models.BinaryField(max_length=32)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32), default=list, size=None
                    ),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "db_table": "api_keys",
                "indexes": [
                    models.Index(fields=["digest"], name="api_keys_by_digest"),
                    models.Index(fields=["id"], name="api_keys_by_id"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "digest"), name="api_keys_one_per_digest"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to="workspaces.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[("VIEWER", "Viewer"), ("MANAGER", "Manager")],
                        default="VIEWER",
                        max_length=16,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "memberships",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "user"), name="memberships_one_per_tenant"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SecondFactor",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="second_factor",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("wrapped", models.BinaryField()),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("last_step", models.BigIntegerField(default=0)),
                (
                    "recovery",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BinaryField(max_length=32), default=list, size=None
                    ),
                ),
            ],
            options={
                "db_table": "second_factors",
            },
        ),
        migrations.CreateModel(
            name="Throttle",
            fields=[
                ("key", models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                ("full_at", models.DateTimeField()),
            ],
            options={
                "db_table": "throttles",
                "indexes": [models.Index(fields=["full_at"], name="throttles_full_at")],
            },
        ),
        migrations.CreateModel(
            name="StoppedWork",
            fields=[
                ("line", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("error", models.CharField(max_length=100)),
                ("since", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "db_table": "stopped_work",
            },
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("role", models.CharField(max_length=32)),
                ("host", models.CharField(max_length=128)),
                ("heard_at", models.DateTimeField()),
                ("clock_ahead", models.FloatField()),
            ],
            options={
                "db_table": "heartbeats",
                "constraints": [
                    models.UniqueConstraint(fields=("role", "host"), name="heartbeats_one")
                ],
            },
        ),
        migrations.CreateModel(
            name="PurgeRun",
            fields=[
                ("what", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("ran_at", models.DateTimeField()),
                ("before", models.DateField(null=True)),
            ],
            options={
                "db_table": "purge_runs",
            },
        ),
    ]
