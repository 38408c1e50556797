"""Whose rows are whose, and what a request made for a tenant may write; the outbox's own rules."""

from django.db import migrations

from workspaces.rls import key_by_tenant, protect

# A send whose message is gone must not be sent, whoever removed the message.
OF_A_MESSAGE = """
ALTER TABLE outbox ADD CONSTRAINT outbox_of_a_message
FOREIGN KEY (tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE CASCADE
"""
# Rows live for seconds: without frequent vacuums the indexes fill with dead entries.
VACUUM = """
ALTER TABLE outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000
)
"""


KEYED_BY_ID = (
    "contacts",
    "contact_identities",
    "messages",
    "message_statuses",
    "conversations",
    "sending_pauses",
    "opt_outs",
    "portfolio_recipients",
    "read_marks",
    "broadcasts",
    "broadcast_recipients",
)


class Migration(migrations.Migration):
    dependencies = (("messaging", "0001_initial"), ("workspaces", "0002_policies"))
    operations = (
        *map(key_by_tenant, KEYED_BY_ID),
        key_by_tenant("media", unique="message_id"),
        key_by_tenant("outbox", "message_id"),
        key_by_tenant("number_states", "workspace_id"),
        # A send makes its message, and the person it goes to.
        protect("contacts", grant="SELECT, INSERT, UPDATE"),
        protect("contact_identities", grant="SELECT, INSERT, UPDATE"),
        protect("messages", grant="SELECT, INSERT, UPDATE"),
        protect("message_statuses"),
        protect("media"),
        # A request may queue, cancel, hold and release.
        protect("outbox", grant="SELECT, INSERT, UPDATE, DELETE"),
        protect("conversations", grant="SELECT, INSERT, UPDATE"),
        protect("number_states", grant="SELECT, INSERT, UPDATE"),
        protect("sending_pauses", grant="SELECT, UPDATE"),
        # Taken back, not removed: what was said and when has to remain.
        protect("opt_outs", grant="SELECT, INSERT, UPDATE"),
        protect("sending_policies", grant="SELECT, INSERT, UPDATE"),
        protect("portfolio_recipients"),
        protect("read_marks", grant="SELECT, INSERT"),
        protect("broadcasts", grant="SELECT, INSERT, UPDATE"),
        protect("broadcast_recipients", grant="SELECT, INSERT, UPDATE, DELETE"),
        migrations.RunSQL(OF_A_MESSAGE, "ALTER TABLE outbox DROP CONSTRAINT outbox_of_a_message"),
        migrations.RunSQL(VACUUM, migrations.RunSQL.noop),
    )
