"""Bodies in the making hold no more than there is room for, and give all of it back."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lib.requests import Budget, NoRoom, Reading, Unreadable

ROOM = 1_000
# The largest body sets the pace: of one nobody comes too slowly, of the other everybody does.
NOBODY_IS_SLOW, EVERYBODY_IS_SLOW = ROOM, 10**15

bodies = st.lists(
    st.tuples(
        st.booleans(),  # announced, or in chunks
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5)), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=8,
)


@given(bodies=bodies, limit=st.sampled_from([NOBODY_IS_SLOW, EVERYBODY_IS_SLOW]))
def test_what_is_held_never_exceeds_the_room_and_is_given_back(
    bodies: list[tuple[bool, list[tuple[int, int]]]], limit: int
) -> None:
    budget = Budget(ROOM)

    async def read(is_announced: bool, chunks: list[tuple[int, int]]) -> None:
        left, size = list(chunks), sum(size for size, _ in chunks)

        async def receive() -> dict[str, Any]:
            length, rounds = left.pop(0)
            for _ in range(rounds + 1):
                await asyncio.sleep(0)
                assert 0 <= budget.taken <= ROOM
            return {"type": "http.request", "body": b" " * length, "more_body": bool(left)}

        headers = {b"content-length": str(size).encode()} if is_announced else {}
        with Reading(budget, limit, 60.0) as reading:
            try:
                whole = reading.begin(headers, receive)
                body = await reading.rest() if whole is None else whole
                assert len(body) == size
            except Unreadable:
                pass

    async def trial() -> None:
        await asyncio.gather(*(read(*body) for body in bodies))

    asyncio.run(trial())

    assert budget.taken == 0
    assert not budget.coming


def test_the_slowest_makes_way_and_not_the_one_that_began_first() -> None:
    budget = Budget(2 * ROOM)

    async def read(first: int, seconds: float) -> bool:
        left = [first, ROOM - first]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(seconds if len(left) == 1 else 0)
            return {"type": "http.request", "body": b" " * left.pop(0), "more_body": bool(left)}

        with Reading(budget, EVERYBODY_IS_SLOW, 60.0) as reading:
            try:
                assert reading.begin({b"content-length": b"%d" % ROOM}, receive) is None
                return len(await reading.rest()) == ROOM
            except NoRoom:
                return False

    async def trial() -> list[bool]:
        here = [asyncio.create_task(read(first, 0.5)) for first in (ROOM // 2, 1)]
        await asyncio.sleep(0.1)
        return [await read(ROOM // 2, 0), *await asyncio.gather(*here)]

    assert asyncio.run(trial()) == [True, True, False]
