"""The bells of sending: of messages that were queued, and of broadcasts that need a look. Each is
rung once the transaction is committed. And their brakes, for errors that hit everything.
"""

from __future__ import annotations

from lib.bells import Bell
from lib.brake import Brake

BROADCASTS = Bell(name="broadcasts", task="broadcast.tend", queue="broadcast")
BELL = Bell(name="deliver", task="send.deliver", queue="send")
BRAKE = Brake("sends")
BROADCASTS_BRAKE = Brake("broadcasts")
