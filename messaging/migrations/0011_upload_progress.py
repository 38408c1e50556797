"""How much of a file the platform has; a tenant may remove its files."""

from django.db import migrations, models

from workspaces.rls import TENANT_ROLE


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0010_archive'),
    ]

    operations = [
        migrations.AddField(
            model_name='uploadhandle',
            name='sent_bytes',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.RunSQL(
            f"GRANT DELETE ON upload_handles TO {TENANT_ROLE}",
            f"REVOKE DELETE ON upload_handles FROM {TENANT_ROLE}",
        ),
    ]
