"""Who handles a conversation, when, under which labels, and notes about it."""

import django.contrib.postgres.fields
import django.contrib.postgres.functions
import django.db.models.functions.datetime
import lib.ids
from django.db import migrations, models

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0004_uploads'),
        ('workspaces', '0004_members'),
    ]

    operations = [
        migrations.CreateModel(
            name='ConversationNote',
            fields=[
                ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=lib.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('conversation_id', models.UUIDField()),
                ('sealed_text', models.BinaryField()),
                ('author_id', models.IntegerField(null=True)),
                ('author_key', models.CharField(blank=True, db_default='', default='', max_length=100)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'db_table': 'conversation_notes',
            },
        ),
        migrations.CreateModel(
            name='ConversationLabel',
            fields=[
                ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=lib.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('name', models.CharField(max_length=50)),
                ('folded', models.TextField()),
                ('colour', models.TextField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'db_table': 'labels',
            },
        ),
        migrations.AddField(
            model_name='conversation',
            name='assignee_id',
            field=models.IntegerField(null=True),
        ),
        migrations.AddField(
            model_name='conversation',
            name='label_ids',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), db_default=[], default=list, size=None),
        ),
        migrations.AddField(
            model_name='conversation',
            name='reopened_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='conversation',
            name='snoozed_until',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='conversation',
            name='state',
            field=models.CharField(choices=[('OPEN', 'Open'), ('SNOOZED', 'Snoozed'), ('CLOSED', 'Closed')], db_default='OPEN', default='OPEN', max_length=8),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(models.F('tenant_id'), models.F('workspace_id'), models.F('state'), models.OrderBy(models.F('last_message_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('state', 'OPEN'), _negated=True), name='conversations_by_state'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(models.F('tenant_id'), models.F('workspace_id'), models.F('assignee_id'), models.OrderBy(models.F('last_message_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('assignee_id__isnull', False)), name='conversations_by_assignee'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(condition=models.Q(('snoozed_until__isnull', False)), fields=['tenant_id', 'snoozed_until'], name='conversations_snoozed'),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('snoozed_until__isnull', False), ('state', 'SNOOZED')), models.Q(models.Q(('state', 'SNOOZED'), _negated=True), ('snoozed_until', None)), _connector='OR'), name='conversations_snoozed_until_a_time'),
        ),
        migrations.AddIndex(
            model_name='conversationnote',
            index=models.Index(models.F('tenant_id'), models.F('conversation_id'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='conversation_notes_newest'),
        ),
        migrations.AddConstraint(
            model_name='conversationlabel',
            constraint=models.UniqueConstraint(fields=('tenant_id', 'folded'), name='labels_one_per_name'),
        ),
        key_by_tenant("labels"),
        key_by_tenant("conversation_notes"),
        protect("labels", grant="SELECT, INSERT, UPDATE, DELETE"),
        protect("conversation_notes", grant="SELECT, INSERT, DELETE"),
    ]
