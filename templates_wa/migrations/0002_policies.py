"""Whose rows are whose: row-level security of templates."""

from django.db import migrations

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):
    dependencies = (("templates_wa", "0001_initial"), ("workspaces", "0002_policies"))
    operations = (
        key_by_tenant("templates"),
        key_by_tenant("template_syncs"),
        key_by_tenant("template_events"),
        protect("template_events"),
        protect("templates", grant="SELECT, INSERT, UPDATE"),
        protect("template_syncs"),
    )
