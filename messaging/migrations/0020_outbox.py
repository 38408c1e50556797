"""Pending sends leave ``messages`` for a table of their own, the outbox.

What waits and what is being sent moves over in this migration. The request of a message that is
``unknown`` is forgotten: nobody may send it again.
"""

import django.db.models.deletion
from django.db import migrations, models

from workspaces.rls import protect

# A send whose message is gone must not be sent, whoever removed the message.
OF_A_MESSAGE = """
ALTER TABLE outbox ADD CONSTRAINT outbox_of_a_message
FOREIGN KEY (message_id) REFERENCES messages (id) ON DELETE CASCADE
"""
# Rows live for seconds: without frequent vacuums the indexes fill with dead entries.
VACUUM = """
ALTER TABLE outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000
)
"""
MOVE = """
INSERT INTO outbox (message_id, tenant_id, workspace_id, contact_id, template_id, broadcast_id,
                    type, due_at, attempts, lease_until, expires_at, reason, sealed_request)
SELECT id, tenant_id, workspace_id, contact_id, template_id, broadcast_id, type,
       CASE WHEN status = 'queued' THEN next_attempt_at END, attempts,
       CASE WHEN status = 'sending' THEN coalesce(lease_until, now()) END, expires_at,
       coalesce(delivery ->> 'waiting', ''), coalesce(sealed_request, '')
FROM messages WHERE status IN ('queued', 'sending') AND source = 'API'
"""
FORGET = "UPDATE messages SET delivery = delivery - 'waiting' WHERE id IN (SELECT message_id FROM outbox)"
MOVE_BACK = """
UPDATE messages m SET template_id = o.template_id, sealed_request = o.sealed_request,
    next_attempt_at = o.due_at, lease_until = o.lease_until, attempts = o.attempts,
    delivery = m.delivery || CASE WHEN o.reason = '' THEN '{}'
                             ELSE jsonb_build_object('waiting', o.reason) END
FROM outbox o WHERE m.id = o.message_id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0019_merged_conversations'),
        ('workspaces', '0002_isolation'),
    ]

    operations = [
        migrations.CreateModel(
            name='PendingSend',
            fields=[
                ('message', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='pending', serialize=False, to='messaging.message')),
                ('tenant_id', models.UUIDField()),
                ('workspace_id', models.UUIDField()),
                ('contact_id', models.UUIDField(null=True)),
                ('template_id', models.UUIDField(null=True)),
                ('broadcast_id', models.UUIDField(null=True)),
                ('type', models.CharField(max_length=64)),
                ('due_at', models.DateTimeField(null=True)),
                ('attempts', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('lease_until', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('reason', models.TextField(blank=True, db_default='', default='')),
                ('sealed_request', models.BinaryField()),
            ],
            options={
                'db_table': 'outbox',
            },
        ),
        migrations.AddIndex(
            model_name='pendingsend',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['workspace_id', 'due_at'], name='outbox_due'),
        ),
        migrations.AddIndex(
            model_name='pendingsend',
            index=models.Index(condition=models.Q(('lease_until__isnull', False)), fields=['lease_until'], name='outbox_leased'),
        ),
        migrations.AddIndex(
            model_name='pendingsend',
            index=models.Index(condition=models.Q(('broadcast_id__isnull', False)), fields=['broadcast_id'], name='outbox_of_a_broadcast'),
        ),
        migrations.AddConstraint(
            model_name='pendingsend',
            constraint=models.CheckConstraint(condition=models.Q(('due_at', None), ('lease_until', None), _connector='OR'), name='outbox_due_or_leased'),
        ),
        migrations.RunSQL(OF_A_MESSAGE, "ALTER TABLE outbox DROP CONSTRAINT outbox_of_a_message"),
        migrations.RunSQL(VACUUM, migrations.RunSQL.noop),
        # A request may queue, cancel, hold and release.
        protect("outbox", grant="SELECT, INSERT, UPDATE, DELETE"),
        migrations.RunSQL(MOVE, MOVE_BACK),
        migrations.RunSQL(FORGET, migrations.RunSQL.noop),
        migrations.RemoveIndex(
            model_name='message',
            name='messages_owed',
        ),
        migrations.RemoveIndex(
            model_name='message',
            name='messages_leased',
        ),
        migrations.RemoveField(
            model_name='message',
            name='lease_until',
        ),
        migrations.RemoveField(
            model_name='message',
            name='next_attempt_at',
        ),
        migrations.RemoveField(
            model_name='message',
            name='sealed_request',
        ),
        migrations.RemoveField(
            model_name='message',
            name='template_id',
        ),
    ]
