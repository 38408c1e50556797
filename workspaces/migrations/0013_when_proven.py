"""When a number was proven and when an account was are two things. No column is rewritten."""

from django.db import migrations, models

SO_FAR = "UPDATE workspaces SET account_proven_at = number_proven_at WHERE account_proof > 0"


class Migration(migrations.Migration):

    dependencies = [
        ('workspaces', '0012_kinds_of_checks'),
    ]

    operations = [
        migrations.RenameField(
            model_name='workspace',
            old_name='proven_at',
            new_name='number_proven_at',
        ),
        migrations.AddField(
            model_name='workspace',
            name='account_proven_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunSQL(SO_FAR, migrations.RunSQL.noop),
    ]
