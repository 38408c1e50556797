"""Errors of ours that a caller must not see: logged whole under a number that he is told."""

from __future__ import annotations

import logging
from uuid import uuid4


def hide(logger: logging.Logger, what: str, error: BaseException | None) -> str:
    """Log an error as ``what`` failing, and return the sentence for whoever asked."""
    error_id = f"x{uuid4().hex[:12]}"  # a letter first: digits alone would be masked as a number
    logger.error("%s failed, error id %s", what, error_id, exc_info=error)
    return f"Something went wrong on our side; the log has it as {error_id}."
