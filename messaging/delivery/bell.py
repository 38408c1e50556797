"""The bells of sending: of messages that were queued, and of broadcasts that need a look. Each is
rung once the transaction is committed.
"""

from __future__ import annotations

from workspaces.bells import Bell

BROADCASTS = Bell(name="broadcasts", task="broadcast.tend", queue="broadcast")
BELL = Bell(name="deliver", task="send.deliver", queue="send")
