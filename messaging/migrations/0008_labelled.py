"""Conversations with labels are found among themselves."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0007_canned_replies'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(models.F('tenant_id'), models.F('workspace_id'), models.OrderBy(models.F('last_message_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('label_ids', []), _negated=True), name='conversations_labelled'),
        ),
    ]
