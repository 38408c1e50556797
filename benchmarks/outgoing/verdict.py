"""What the simulated Meta's journal says, against what the table says. Pure but for two reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

# What the table says of a message that was not sent, or of which it does not know.
UNSENT = frozenset({"queued", "sending", "unknown", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; ``twice``, ``lost`` and ``unsettled`` are defects."""

    messages: int
    requests: int
    states: dict[str, int]
    twice: int
    lost: int
    unsettled: int
    in_doubt: int

    @property
    def is_clean(self) -> bool:
        """Whether there is no defect."""
        return not (self.twice or self.lost or self.unsettled)


def judge(
    journal: Iterable[Mapping[str, object]], rows: Mapping[str, str], *, accepted: int | None = None
) -> Verdict:
    """Compare: ``rows`` are the states by message id.

    Lost is a message that the table calls sent and Meta never took, and one that is pending still
    when all is quiet. What Meta refused (a sender killed then never heard it) became no message.

    ``accepted`` is how many sends callers were promised, each to a person of their own: as many
    messages there must be, and nobody may be written to twice, whatever the ids say.
    """
    posted = [entry for entry in journal if entry["is_processed"]]
    requests = Counter(str(entry["biz_opaque_callback_data"]) for entry in posted)
    people = Counter(str(entry["to"]) for entry in posted)
    promised = len(rows) if accepted is None else accepted
    twice = sum(n > 1 for n in requests.values()) + len(requests.keys() - rows.keys())
    if accepted is not None:
        twice = max(twice, sum(n > 1 for n in people.values())) + max(0, len(rows) - promised)
    unknown = {one for one, state in rows.items() if state == "unknown"}
    return Verdict(
        messages=len(rows),
        requests=requests.total(),
        states=dict(sorted(Counter(rows.values()).items())),
        twice=twice,
        lost=sum(
            (state not in UNSENT and one not in requests) or state in ("queued", "sending")
            for one, state in rows.items()
        )
        + max(0, promised - len(rows)),
        unsettled=len(unknown & requests.keys()),
        in_doubt=len(unknown - requests.keys()),
    )


def rows_of(database_url: str) -> dict[str, str]:
    """Return the state of every message of ours."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT id::text, status FROM messages WHERE source = 'API'")
        return dict(found.fetchall())


def are_moving(database_url: str) -> bool:
    """Tell whether anything is pending or under way."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM messages WHERE status IN ('queued', 'sending'))"
        ).fetchone()
        return bool(row and row[0])
