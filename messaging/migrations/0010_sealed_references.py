"""A row's reference is the caller's own text and may be anything, so it is sealed too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("messaging", "0009_number_syncs"),)
    operations = (
        migrations.RemoveField(model_name="broadcastrecipient", name="reference"),
        migrations.AddField(
            model_name="broadcastrecipient",
            name="sealed_reference",
            field=models.BinaryField(null=True),
        ),
    )
