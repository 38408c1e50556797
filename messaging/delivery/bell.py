"""The bell of sending: whoever queues a message rings it once his transaction is committed."""

from __future__ import annotations

from workspaces.bells import Bell

BELL = Bell(name="deliver", task="send.deliver", queue="send")
