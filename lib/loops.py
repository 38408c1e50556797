"""What event loops in threads of their own have in common: they end with work under way."""

from __future__ import annotations

import asyncio


async def cancel_others() -> None:
    """Cancel every other task of the running loop, and wait until all have ended."""
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
