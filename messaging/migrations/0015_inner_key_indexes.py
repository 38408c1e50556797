"""Look-ups by the key inside a message's id. Built while others write: the tables are large."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


def _index(model: str, field: str, name: str) -> AddIndexConcurrently:
    condition = models.Q((f"{field}__isnull", False))
    return AddIndexConcurrently(model, models.Index(fields=(field,), name=name, condition=condition))


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("messaging", "0014_inner_keys"),)
    operations = (
        _index("message", "inner_key", "messages_by_inner_key"),
        _index("message", "reply_to_key", "messages_waiting"),
        _index("messagestatus", "waiting_key", "message_statuses_waiting"),
    )
