"""Whose rows are whose, and what a request made for a tenant may write; the outbox's own rules."""

from django.db import migrations

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


class Migration(migrations.Migration):
    dependencies = (("messaging", "0001_initial"), ("workspaces", "0002_policies"))
    operations = (
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
