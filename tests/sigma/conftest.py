"""The whole application behind a server, for the tests of its doors."""

from __future__ import annotations

from tests.whatsapp.conftest import web

__all__ = ["web"]
