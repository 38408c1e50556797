"""Real PostgreSQL and Valkey from wheels, for a machine that has neither.

The settings ask ``resolve``; who starts engines calls ``postgres.prepare`` and ``valkey.prepare``.
"""

from sigma.engines.state import Urls, resolve

__all__ = ["Urls", "resolve"]
