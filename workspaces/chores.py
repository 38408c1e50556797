"""What scheduled tasks have in common: each comes round again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connection

from workspaces.purging import PurgeRefused


@contextmanager
def until_the_next_time(what: str, logger: logging.Logger) -> Iterator[None]:
    """Give up while the database is away, with one warning that names ``what`` was put off; or
    where a purge refuses to run.
    """
    try:
        yield
    except PurgeRefused as refusal:
        logger.error("whatsapp %s refused", what, extra={"error": str(refusal)})
    except (OperationalError, InterfaceError) as error:
        logger.warning("whatsapp %s put off", what, extra={"error": type(error).__name__})
        connection.close()
