"""When each number is asked about next, and why the last time gave nothing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("messaging", "0008_opt_outs_over_time"),)
    operations = (
        migrations.AddField(
            model_name="numberstate",
            name="sync_due_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="numberstate",
            name="sync_error",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    )
