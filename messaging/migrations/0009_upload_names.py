"""Under which names a file is being stored."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0008_labelled'),
    ]

    operations = [
        migrations.AddField(
            model_name='upload',
            name='begun',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), db_default=[], default=list, size=None),
        ),
    ]
