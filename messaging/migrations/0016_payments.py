"""What is told of payments is kept with its receipt.

Nullable columns without a default: the lock on the table is held for a moment, nothing is
rewritten.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("messaging", "0015_inner_key_indexes"),)
    operations = (
        migrations.AddField(
            model_name="messagestatus", name="payment", field=models.JSONField(null=True)
        ),
        migrations.AddField(
            model_name="messagestatus", name="sealed_values", field=models.BinaryField(null=True)
        ),
    )
