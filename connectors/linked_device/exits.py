"""How a session process ends, in numbers that its host understands."""

from __future__ import annotations

from typing import Final

# It was asked to end, and did.
DONE: Final = 0
# Somebody else has the session, or it stopped a moment ago: to be tried again later (EX_TEMPFAIL).
HELD: Final = 75
# Its lease was lost: it ended at once, without a word to anybody.
LOST: Final = 76
# It wrote down why it must not start again by itself: replaced, logged out, outdated, banned.
FINAL: Final = 77
# It wrote down what went wrong: to be started again, after a pause that grows.
FAILED: Final = 78
