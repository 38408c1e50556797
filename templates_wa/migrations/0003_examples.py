"""Files on their way to Meta, to be examples in the headers of templates."""

import django.db.models.functions.datetime
from django.db import migrations, models

from workspaces.rls import key_by_tenant, protect


class Migration(migrations.Migration):

    dependencies = [
        ('templates_wa', '0002_policies'),
    ]

    operations = [
        migrations.CreateModel(
            name='TemplateExample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('tenant_id', models.UUIDField()),
                ('media_id', models.UUIDField()),
                ('session', models.TextField()),
                ('lease_until', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'template example',
                'db_table': 'template_examples',
                'constraints': [models.UniqueConstraint(fields=('tenant_id', 'media_id'), name='template_examples_one_per_file')],
            },
        ),
        key_by_tenant('template_examples'),
        protect('template_examples'),
    ]
