"""A request sees which users are members of its tenant, and no more: they are assigned things."""

from django.db import migrations

from workspaces.acting import TENANT_ROLE
from workspaces.rls import TENANT

MINE = f"tenant_id = {TENANT}"
SHOW = f"""
CREATE POLICY tenant_rows ON memberships TO {TENANT_ROLE} USING ({MINE}) WITH CHECK ({MINE});
GRANT SELECT (tenant_id, user_id) ON memberships TO {TENANT_ROLE};
"""
HIDE = f"""
REVOKE ALL ON memberships FROM {TENANT_ROLE};
DROP POLICY tenant_rows ON memberships;
"""


class Migration(migrations.Migration):
    dependencies = (("workspaces", "0003_addresses"),)
    operations = (migrations.RunSQL(SHOW, HIDE),)
