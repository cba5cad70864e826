"""What all that train interval by interval have in common."""

from __future__ import annotations

from lamarck._errors import TrainingError

__all__ = ["check_start"]


def check_start(steps: range, step: int) -> None:
    """Raises `TrainingError` unless a member stands where its interval begins.

    Args:
        steps: The interval's steps.
        step: Steps done so far.

    Example:
        >>> check_start(range(500, 1000), 500)
        >>> check_start(range(500, 1000), 0)
        Traceback (most recent call last):
            ...
        lamarck._errors.TrainingError: the interval begins at step 500, and what is to be trained stands at 0: track it, with worker.track, and
        ...
    """
    if steps.start != step:
        raise TrainingError(
            f"the interval begins at step {steps.start}, and what is to be trained stands at {step}: track it, with worker.track, and train "
            "interval.steps, once in each interval"
        )
