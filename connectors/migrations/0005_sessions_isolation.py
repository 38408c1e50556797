"""Row-level security of linked devices; tenants ask for a start, and read who holds a session."""

from django.db import migrations

from workspaces.rls import protect


class Migration(migrations.Migration):
    dependencies = (("connectors", "0004_sessions"), ("workspaces", "0002_isolation"))
    operations = (
        protect("sender_sessions", grant="SELECT, INSERT, UPDATE"),
        protect("session_leases"),
    )
