"""Contacts remember what the business calls them; no row is written."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0017_identities_told_together'),
    ]

    operations = [
        migrations.AddField(
            model_name='contact',
            name='book_name',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='contact',
            name='book_name_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
