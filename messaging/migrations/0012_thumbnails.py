"""Thumbnails of pictures in archives."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0011_upload_progress'),
    ]

    operations = [
        migrations.AddField(
            model_name='media',
            name='thumbnail_bytes',
            field=models.IntegerField(null=True),
        ),
    ]
