"""What files are called at the platform."""

import django.db.models.functions.datetime
from django.db import migrations, models

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0005_desk'),
    ]

    operations = [
        migrations.CreateModel(
            name='UploadHandle',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('tenant_id', models.UUIDField()),
                ('upload_id', models.UUIDField()),
                ('workspace_id', models.UUIDField()),
                ('platform_media_id', models.CharField(blank=True, db_default='', default='', max_length=128)),
                ('expires_at', models.DateTimeField(null=True)),
                ('renewed_at', models.DateTimeField(null=True)),
                ('lease_until', models.DateTimeField(null=True)),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('attempts', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('error_code', models.IntegerField(null=True)),
                ('error', models.TextField(blank=True, db_default='', default='')),
            ],
            options={
                'db_table': 'upload_handles',
                'constraints': [models.UniqueConstraint(fields=('tenant_id', 'upload_id', 'workspace_id'), name='upload_handles_one_per_number')],
            },
        ),
        key_by_tenant('upload_handles'),
        protect('upload_handles'),
    ]
