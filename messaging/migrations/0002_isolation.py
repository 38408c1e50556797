"""Row-level security."""

from django.db import migrations

from workspaces.rls import protect

TABLES = ("contacts", "contact_identities", "messages", "message_statuses", "media")


class Migration(migrations.Migration):
    dependencies = (("messaging", "0001_initial"), ("workspaces", "0002_isolation"))
    operations = tuple(protect(table) for table in TABLES)
