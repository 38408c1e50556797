"""Values of a message that give a phone number away are sealed beside it.

A nullable column without a default: the lock on the table is held for a moment, nothing is
rewritten.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("messaging", "0010_sealed_references"),)
    operations = (
        migrations.AddField(
            model_name="message",
            name="sealed_values",
            field=models.BinaryField(null=True),
        ),
    )
