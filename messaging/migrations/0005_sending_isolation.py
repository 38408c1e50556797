"""Row-level security of what sending keeps, and what a request made for a tenant may write."""

from django.db import migrations

from workspaces.rls import protect
from workspaces.scope import TENANT_ROLE

# A send makes its message, and the person it goes to.
WRITTEN = ("messages", "contacts", "contact_identities")


class Migration(migrations.Migration):
    dependencies = (("messaging", "0004_sending"), ("workspaces", "0002_isolation"))
    operations = (
        protect("conversations", grant="SELECT, INSERT, UPDATE"),
        protect("number_states", grant="SELECT, INSERT, UPDATE"),
        protect("sending_pauses", grant="SELECT, UPDATE"),
        protect("opt_outs", grant="SELECT, INSERT, DELETE"),
        protect("sending_policies", grant="SELECT, INSERT, UPDATE"),
        protect("portfolio_recipients"),
        protect("read_marks", grant="SELECT, INSERT"),
        protect("broadcasts", grant="SELECT, INSERT, UPDATE"),
        protect("broadcast_recipients", grant="SELECT, INSERT, UPDATE, DELETE"),
        *(
            migrations.RunSQL(
                f"GRANT INSERT, UPDATE ON {table} TO {TENANT_ROLE}",
                f"REVOKE INSERT, UPDATE ON {table} FROM {TENANT_ROLE}",
            )
            for table in WRITTEN
        ),
    )
