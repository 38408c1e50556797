"""Row-level security of the catalogue."""

from django.db import migrations

from workspaces.rls import protect


class Migration(migrations.Migration):
    dependencies = (("templates_wa", "0003_catalogue"), ("workspaces", "0002_isolation"))
    operations = (protect("templates", grant="SELECT, INSERT, UPDATE"),)
