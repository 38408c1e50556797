"""Files that people sent, kept by tenants that want it; what is still to be fetched."""

import django.db.models.functions.datetime
from django.db import migrations, models

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0009_upload_names'),
    ]

    operations = [
        migrations.CreateModel(
            name='PendingFetch',
            fields=[
                ('media_id', models.UUIDField(primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('lease_until', models.DateTimeField(null=True)),
                ('attempts', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('stored_as', models.UUIDField(null=True)),
            ],
            options={
                'db_table': 'archive_fetches',
            },
        ),
        migrations.AddField(
            model_name='media',
            name='archive_error',
            field=models.CharField(max_length=32, null=True),
        ),
        migrations.AddField(
            model_name='media',
            name='archive_state',
            field=models.CharField(choices=[('PENDING', 'Pending'), ('KEPT', 'Kept'), ('LOST', 'Lost'), ('REFUSED', 'Refused'), ('REMOVED', 'Removed')], max_length=16, null=True),
        ),
        migrations.AddField(
            model_name='media',
            name='archived_as',
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name='media',
            name='archived_day',
            field=models.DateField(null=True),
        ),
        migrations.AddField(
            model_name='media',
            name='archived_key',
            field=models.CharField(choices=[('OFF', 'No'), ('DAY', 'Yes, under the key of the day'), ('FIELD', "Yes, under the tenant's key")], max_length=8, null=True),
        ),
        migrations.AddIndex(
            model_name='media',
            index=models.Index(condition=models.Q(('archived_as__isnull', False)), fields=['tenant_id', 'archived_day'], name='media_archived'),
        ),
        migrations.AddIndex(
            model_name='pendingfetch',
            index=models.Index(fields=['tenant_id', 'due_at'], name='archive_fetches_due'),
        ),
        migrations.AddIndex(
            model_name='pendingfetch',
            index=models.Index(condition=models.Q(('lease_until__isnull', False)), fields=['tenant_id', 'lease_until'], name='archive_fetches_leased'),
        ),
        key_by_tenant('archive_fetches', 'media_id'),
        protect('archive_fetches'),
    ]
