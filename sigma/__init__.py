"""The composition root: settings, URLs, processes. Nothing imports from here but entry points."""

from __future__ import annotations

from sigma.celery import app as celery_app

__all__ = ("celery_app",)
