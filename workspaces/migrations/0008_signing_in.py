"""Signing in: second factors, and counts of attempts."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('workspaces', '0007_linked_devices'),
    ]

    operations = [
        migrations.CreateModel(
            name='SecondFactor',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='second_factor', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('wrapped', models.BinaryField()),
                ('confirmed_at', models.DateTimeField(null=True)),
                ('last_step', models.BigIntegerField(default=0)),
                ('recovery', django.contrib.postgres.fields.ArrayField(base_field=models.BinaryField(max_length=32), default=list, size=None)),
            ],
            options={
                'db_table': 'second_factors',
            },
        ),
        migrations.CreateModel(
            name='Throttle',
            fields=[
                ('key', models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                ('full_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'throttles',
                'indexes': [models.Index(fields=['full_at'], name='throttles_full_at')],
            },
        ),
    ]
