"""The words of messages that are there already are read like those of new ones, newest first."""

from django.db import migrations

QUEUE = """
INSERT INTO message_words_pending (tenant_id, workspace_id, message_ids)
SELECT tenant_id, workspace_id, array_agg(id) FROM (
    SELECT tenant_id, workspace_id, id, timestamp_utc, (row_number() OVER (
        PARTITION BY tenant_id, workspace_id ORDER BY timestamp_utc DESC
    ) - 1) / 500 AS part FROM messages WHERE text IS NOT NULL
) m GROUP BY tenant_id, workspace_id, part ORDER BY part
"""


class Migration(migrations.Migration):

    dependencies = [("messaging", "0014_search")]
    operations = [migrations.RunSQL(QUEUE, migrations.RunSQL.noop, elidable=True)]
