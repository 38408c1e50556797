"""Whom numbers block at their platform, and the rule that blocks more."""

import django.contrib.postgres.functions
import django.db.models.functions.datetime
import lib.ids
from django.db import migrations, models

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0015_search_existing'),
    ]

    operations = [
        migrations.CreateModel(
            name='BlockList',
            fields=[
                ('workspace_id', models.UUIDField(primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('messages_a_minute', models.PositiveSmallIntegerField(null=True)),
                ('listed', models.IntegerField(db_default=0, default=0)),
                ('strangers', models.IntegerField(db_default=0, default=0)),
                ('synced_at', models.DateTimeField(null=True)),
                ('sync_due_at', models.DateTimeField(null=True)),
                ('sync_error', models.TextField(blank=True, db_default='', default='')),
            ],
            options={
                'db_table': 'block_lists',
                'indexes': [models.Index(fields=['workspace_id'], name='block_lists_by_id'), models.Index(condition=models.Q(('messages_a_minute__isnull', False)), fields=['tenant_id'], name='block_lists_with_a_rule')],
            },
        ),
        migrations.CreateModel(
            name='ContactBlock',
            fields=[
                ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=lib.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('workspace_id', models.UUIDField()),
                ('contact_id', models.UUIDField()),
                ('state', models.CharField(choices=[('BLOCKED', 'Blocked'), ('BLOCKING', 'Blocking'), ('UNBLOCKING', 'Unblocking'), ('UNBLOCKED', 'Unblocked'), ('REFUSED', 'Refused')], max_length=16)),
                ('by', models.CharField(max_length=64)),
                ('asked_at', models.DateTimeField()),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('blocked_at', models.DateTimeField(null=True)),
                ('due_at', models.DateTimeField(null=True)),
                ('lease_until', models.DateTimeField(null=True)),
                ('attempts', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('error_code', models.IntegerField(null=True)),
                ('error', models.TextField(blank=True, db_default='', default='')),
            ],
            options={
                'db_table': 'contact_blocks',
                'indexes': [models.Index(fields=['id'], name='contact_blocks_by_id'), models.Index(fields=['tenant_id', 'contact_id'], name='contact_blocks_of_one'), models.Index(models.F('tenant_id'), models.F('workspace_id'), models.OrderBy(models.F('changed_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='contact_blocks_newest'), models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='contact_blocks_due')],
                'constraints': [models.UniqueConstraint(fields=('tenant_id', 'workspace_id', 'contact_id'), name='contact_blocks_one_per_number'), models.CheckConstraint(condition=models.Q(models.Q(('due_at__isnull', False), ('state__in', ('BLOCKING', 'UNBLOCKING'))), models.Q(models.Q(('state__in', ('BLOCKING', 'UNBLOCKING')), _negated=True), ('due_at', None)), _connector='OR'), name='contact_blocks_pending_has_a_time')],
            },
        ),
        key_by_tenant("contact_blocks"),
        key_by_tenant("block_lists", "workspace_id"),
        protect("contact_blocks", grant="SELECT, INSERT, UPDATE"),
        protect("block_lists", grant="SELECT, INSERT, UPDATE"),
    ]
