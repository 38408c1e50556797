"""The key inside a message's id, and what waits for a message under another id of it.

Messages and receipts that are there already have none: a new column that may be NULL touches no
row. ``manage.py read_inner_keys`` reads those that can be read.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("messaging", "0013_braking"),)
    operations = (
        migrations.AddField("message", "inner_key", models.BigIntegerField(null=True)),
        migrations.AddField("message", "reply_to_key", models.BigIntegerField(null=True)),
        migrations.AddField("messagestatus", "waiting_key", models.BigIntegerField(null=True)),
    )
