"""A user id remembers the number it was told with; no row is written."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0016_payments'),
    ]

    operations = [
        migrations.AddField(
            model_name='contactidentity',
            name='phone',
            field=models.CharField(max_length=64, null=True),
        ),
    ]
