"""Look-ups of the threads that lead to another. Built while others write: the table is large."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("messaging", "0018_book_names"),)
    operations = (
        AddIndexConcurrently(
            "conversation",
            models.Index(
                fields=("merged_into",), name="conversations_merged",
                condition=models.Q(("merged_into__isnull", False)),
            ),
        ),
    )  # fmt: skip
