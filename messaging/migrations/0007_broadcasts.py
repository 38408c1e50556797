"""What a check of a broadcast that may be killed has to remember, and one row per place."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0006_conversations_so_far'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='broadcast',
            name='broadcasts_live',
        ),
        migrations.AddField(
            model_name='broadcast',
            name='checked_to',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='broadcast',
            name='skip_invalid',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name='broadcast',
            index=models.Index(condition=models.Q(('ended_at', None), models.Q(('state__in', ('DRAFT', 'REFUSED')), _negated=True)), fields=['state'], name='broadcasts_live'),
        ),
        migrations.AddConstraint(
            model_name='broadcastrecipient',
            constraint=models.UniqueConstraint(fields=('broadcast_id', 'position'), name='broadcast_recipients_one_per_place'),
        ),
    ]
