"""Bounds: the size and the attempts of what is owed, and how many updates a dead row stands for."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("connectors", "0002_raw"),)
    operations = (
        migrations.AddField("webhookpending", "size", models.IntegerField(db_default=0, default=0)),
        migrations.AddField(
            "webhookpending", "attempts", models.PositiveSmallIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            "webhookpending", "tried_at", models.DateTimeField(editable=False, null=True)
        ),
        migrations.AddField(
            "webhookdead", "updates", models.PositiveIntegerField(db_default=1, default=1)
        ),
    )
