"""Row-level security of outgoing events and token checks."""

from django.db import migrations

from workspaces.rls import protect


class Migration(migrations.Migration):
    dependencies = (("workspaces", "0004_outgoing"),)
    operations = (
        protect("token_checks"),
        protect("event_subscriptions", grant="SELECT, INSERT, UPDATE, DELETE"),
        protect("outgoing_events", grant="SELECT, INSERT"),
        protect("event_deliveries", grant="SELECT, INSERT, UPDATE, DELETE"),
    )
