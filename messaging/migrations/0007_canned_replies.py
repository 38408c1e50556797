"""Texts of a number that its people send again."""

import django.contrib.postgres.functions
import django.db.models.functions.datetime
import lib.ids
from django.db import migrations, models

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0006_upload_handles'),
    ]

    operations = [
        migrations.CreateModel(
            name='CannedReply',
            fields=[
                ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=lib.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('workspace_id', models.UUIDField()),
                ('shortcut', models.CharField(max_length=50)),
                ('folded', models.TextField()),
                ('text', models.TextField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'verbose_name_plural': 'canned replies',
                'db_table': 'canned_replies',
                'constraints': [models.UniqueConstraint(fields=('tenant_id', 'workspace_id', 'folded'), name='canned_replies_one_per_shortcut')],
            },
        ),
        key_by_tenant("canned_replies"),
        protect("canned_replies", grant="SELECT, INSERT, UPDATE, DELETE"),
    ]
