"""The queues of sending, queued messages and broadcasts that need a look: how each is woken (once a
transaction is committed), and stopped by errors that hit everything.
"""

from __future__ import annotations

from lib.brake import Brake
from lib.wakeups import WakeUp

SENDS = WakeUp(name="deliver", task="send.deliver", queue="send")
BROADCASTS = WakeUp(name="broadcasts", task="broadcast.tend", queue="broadcast")
SENDS_BRAKE = Brake("sends")
BROADCASTS_BRAKE = Brake("broadcasts")
