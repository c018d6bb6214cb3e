"""Waiting for something to become true, with a deadline instead of a fixed sleep."""

import time


def wait_until(what, condition, seconds=20.0, every=0.02):
    """Calls `condition` until it returns something true and returns that; `what` names it in the error."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {seconds} s (last seen: {result!r})")
        time.sleep(every)
