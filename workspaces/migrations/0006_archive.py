"""Whether a tenant keeps the files that people send."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workspaces', '0005_member_names'),
    ]

    operations = [
        migrations.AddField(
            model_name='tenant',
            name='archive',
            field=models.CharField(choices=[('OFF', 'No'), ('DAY', 'Yes, under the key of the day'), ('FIELD', "Yes, under the tenant's key")], db_default='OFF', default='OFF', max_length=8),
        ),
        migrations.AddField(
            model_name='tenant',
            name='archive_days',
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='tenant',
            constraint=models.CheckConstraint(condition=models.Q(('archive_days__gte', 1), ('archive_days__lte', 3650)), name='tenants_archive_between_1_and_3650_days'),
        ),
    ]
