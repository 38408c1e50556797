"""The bell of broadcasts: whoever starts one rings it once his transaction is committed."""

from __future__ import annotations

from workspaces.bells import Bell

BELL = Bell(name="broadcasts", task="broadcast.tend", queue="broadcast")
