"""Row-level security."""

from django.db import migrations

from workspaces.rls import protect


class Migration(migrations.Migration):
    dependencies = (("templates_wa", "0001_initial"), ("workspaces", "0002_isolation"))
    operations = (protect("template_events"),)
