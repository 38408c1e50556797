"""What kind of secret a check is about: a tenant's request may not look at the secrets themselves."""

from django.db import migrations, models

FILL = """
UPDATE token_checks c SET kind = s.kind FROM tenant_secrets s
WHERE s.id = c.secret_id AND s.kind <> c.kind
"""


class Migration(migrations.Migration):

    dependencies = [
        ('workspaces', '0011_ownership'),
    ]

    operations = [
        migrations.AddField(
            model_name='tokencheck',
            name='kind',
            field=models.CharField(db_default='ACCESS_TOKEN', default='ACCESS_TOKEN', max_length=16),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
