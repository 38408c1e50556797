"""Whose rows are whose; tenants ask for a start, and read who holds a session."""

from django.db import migrations

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):
    dependencies = (("linked_device", "0001_initial"), ("workspaces", "0002_policies"))
    operations = (
        key_by_tenant("sender_sessions", unique="workspace_id"),
        key_by_tenant("session_leases", "session_id"),
        protect("sender_sessions", grant="SELECT, INSERT, UPDATE"),
        protect("session_leases"),
    )
