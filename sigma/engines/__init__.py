"""Real PostgreSQL and Valkey from wheels, for a machine that has neither; never imported in production.

``resolve`` is what the settings ask; ``postgres.prepare`` and ``valkey.prepare`` are what starts them.
"""

from sigma.engines.state import Urls, resolve

__all__ = ["Urls", "resolve"]
