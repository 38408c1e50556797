"""An opt-out remembers when it was said and when it was taken back."""

import django.db.models.functions.datetime
from django.db import migrations, models

from workspaces.scope import TENANT_ROLE


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0007_broadcasts'),
    ]

    operations = [
        migrations.AddField(
            model_name='optout',
            name='lifted_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='optout',
            name='said_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddIndex(
            model_name='optout',
            index=models.Index(models.F('tenant_id'), models.OrderBy(models.F('said_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('lifted_at', None)), name='opt_outs_newest_first'),
        ),
        migrations.RunSQL(
            f"GRANT UPDATE ON opt_outs TO {TENANT_ROLE}; REVOKE DELETE ON opt_outs FROM {TENANT_ROLE}",
            f"REVOKE UPDATE ON opt_outs FROM {TENANT_ROLE}; GRANT DELETE ON opt_outs TO {TENANT_ROLE}",
        ),
    ]
