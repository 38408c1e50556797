"""Files that applications gave us to send."""

import django.contrib.postgres.functions
import django.db.models.functions.datetime
from django.db import migrations, models

import lib.ids
from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0003_addresses'),
    ]

    operations = [
        migrations.CreateModel(
            name='Upload',
            fields=[
                ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=lib.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('workspace_id', models.UUIDField()),
                ('stored_as', models.UUIDField()),
                ('state', models.CharField(choices=[('STORING', 'Storing'), ('READY', 'Ready')], db_default='STORING', default='STORING', max_length=16)),
                ('mime_type', models.CharField(max_length=128)),
                ('size_bytes', models.BigIntegerField()),
                ('sealed_name', models.BinaryField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('used_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': 'uploads',
                'indexes': [models.Index(fields=['tenant_id', 'used_at'], name='uploads_by_use')],
            },
        ),
        key_by_tenant('uploads'),
        protect('uploads', grant='SELECT, INSERT, UPDATE, DELETE'),
    ]
