"""Waiting with an end: everything that a test waits for has a time and a name."""

import asyncio
import time

# Generous, because a busy machine is no failure; a test that passes never waits so long.
LONG = 15.0


def eventually(check, description, timeout=LONG, pause=0.02):
    """Asks `check` again and again until its answer is true, and returns that answer.

    For what no event announces, such as a number that another process shows.
    """
    end = time.monotonic() + timeout
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() >= end:
            what = description() if callable(description) else description
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(pause)


async def arrives(awaitable, description, timeout=LONG):
    """The result of `awaitable`, or a failure that says what did not come."""
    try:
        return await asyncio.wait_for(awaitable, timeout)
    except asyncio.TimeoutError:
        raise AssertionError(f"not within {timeout:g} s: {description}") from None
