"""Linked devices: how a number is reached, and keys bound to one workspace."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workspaces', '0006_outgoing_pace'),
    ]

    operations = [
        migrations.AddField(
            model_name='apikey',
            name='workspace',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='workspaces.workspace'),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='transport',
            field=models.CharField(choices=[('CLOUD_API', 'Cloud API'), ('LINKED_DEVICE', 'Linked device')], db_default='CLOUD_API', default='CLOUD_API', max_length=32),
        ),
    ]
