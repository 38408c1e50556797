"""Row-level security of the syncs."""

from django.db import migrations

from workspaces.rls import protect


class Migration(migrations.Migration):
    dependencies = (("templates_wa", "0005_syncs"), ("workspaces", "0002_isolation"))
    operations = (protect("template_syncs"),)
