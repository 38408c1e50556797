"""The conversations of the messages that are there already.

Workspace by workspace, each in a statement of its own. What was said before counts as read.
"""

from django.db import migrations

FILL = """
INSERT INTO conversations (tenant_id, workspace_id, contact_id, last_message_id, last_message_at,
                           last_inbound_at)
SELECT DISTINCT ON (m.contact_id) m.tenant_id, m.workspace_id, m.contact_id, m.id, m.timestamp_utc,
       max(m.timestamp_utc) FILTER (WHERE m.direction = 'INBOUND') OVER (PARTITION BY m.contact_id)
FROM messages m
WHERE m.workspace_id = %s AND m.contact_id IS NOT NULL AND m.group_id IS NULL
ORDER BY m.contact_id, m.timestamp_utc DESC, m.id DESC
ON CONFLICT (workspace_id, contact_id) DO NOTHING
"""


def fill(apps, schema_editor):
    """Make the rows that are missing; a second run finds none."""
    workspaces = apps.get_model("workspaces", "Workspace")
    with schema_editor.connection.cursor() as cursor:
        for workspace_id in workspaces.objects.values_list("id", flat=True):
            cursor.execute(FILL, [workspace_id])


class Migration(migrations.Migration):
    atomic = False
    dependencies = (
        ("messaging", "0005_sending_isolation"),
        ("workspaces", "0005_outgoing_isolation"),
    )
    operations = (migrations.RunPython(fill, migrations.RunPython.noop),)
