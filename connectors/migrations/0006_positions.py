"""Where in its callback an update stood that was set aside; unknown for older rows."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("connectors", "0005_sessions_isolation"),)
    operations = (
        migrations.AddField(
            model_name="webhookdead",
            name="positions",
            field=ArrayField(base_field=models.IntegerField(), null=True, size=None),
        ),
    )
