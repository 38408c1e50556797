"""Erasures of single people: requests, and what was removed."""

import django.contrib.postgres.functions
import django.db.models.functions.datetime
import lib.ids
from django.db import migrations, models

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0012_thumbnails'),
    ]

    operations = [
        migrations.CreateModel(
            name='PersonErasure',
            fields=[
                ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=lib.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('contact_id', models.UUIDField()),
                ('is_dry_run', models.BooleanField(db_default=False, default=False)),
                ('keeps_opt_out', models.BooleanField(db_default=True, default=True)),
                ('requested_by', models.CharField(max_length=150)),
                ('requested_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('ended_at', models.DateTimeField(null=True)),
                ('removed', models.JSONField(db_default={}, default=dict)),
                ('receipt', models.TextField(blank=True, db_default='', default='')),
                ('signature', models.BinaryField(null=True)),
            ],
            options={
                'db_table': 'person_erasures',
                'indexes': [models.Index(condition=models.Q(('ended_at', None)), fields=['tenant_id', 'requested_at'], name='person_erasures_pending')],
            },
        ),
        key_by_tenant("person_erasures"),
        protect("person_erasures", grant="SELECT, INSERT"),
    ]
