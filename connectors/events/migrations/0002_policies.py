"""Whose rows are whose: a tenant's requests subscribe, and write the events of what they do."""

from django.db import migrations

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):
    dependencies = (("events", "0001_initial"), ("workspaces", "0002_policies"))
    operations = (
        key_by_tenant("event_subscriptions"),
        key_by_tenant("outgoing_events"),
        key_by_tenant("event_deliveries"),
        protect("event_subscriptions", grant="SELECT, INSERT, UPDATE, DELETE"),
        protect("outgoing_events", grant="SELECT, INSERT"),
        protect("event_deliveries", grant="SELECT, INSERT, UPDATE, DELETE"),
    )
