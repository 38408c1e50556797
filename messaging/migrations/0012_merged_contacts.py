"""Contacts that turn out to be one person become one; the others stay as aliases.

New columns have no value or a constant, so no row is written. The two indexes hold no row at first;
to find that out each reads contacts once, and meanwhile nobody writes to that table.
"""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0011_sealed_values'),
    ]

    operations = [
        migrations.AddField(
            model_name='contact',
            name='merged_into',
            field=models.UUIDField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='contact',
            name='settled_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='contactidentity',
            name='since',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='contactidentity',
            name='workspace_id',
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name='conversation',
            name='merged_into',
            field=models.UUIDField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='optout',
            name='lifted_by',
            field=models.CharField(blank=True, db_default='', default='', max_length=16),
        ),
        migrations.AlterField(
            model_name='optout',
            name='source',
            field=models.CharField(choices=[('WORD', 'Wrote a stop word'), ('PLATFORM', 'Told the platform'), ('API', 'Entered by the tenant'), ('NUMBER', 'Said by whoever had the number before')], max_length=16),
        ),
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(condition=models.Q(('merged_into__isnull', False)), fields=['merged_into'], name='contacts_merged'),
        ),
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(condition=models.Q(('merged_into__isnull', False), ('settled_at', None)), fields=['id'], name='contacts_unsettled'),
        ),
    ]
