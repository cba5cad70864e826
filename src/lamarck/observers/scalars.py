"""What every tracker shows by the same names: members, and the numbers of their reports."""

from __future__ import annotations

from collections.abc import Mapping

from lamarck.record import Record
from lamarck.types import HParams

__all__ = ["member_name", "scalars"]


def member_name(member: int) -> str:
    """Returns what a member's curves are called.

    Example:
        >>> member_name(3)
        'member-003'
    """
    return f"member-{member:03d}"


def scalars(record: Record, metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns what there is to draw of a report.

    Args:
        record: The report.
        metrics: Its further numbers.

    Returns:
        ``value``; ``hparams/<name>`` for each hyperparameter that is a number; ``metrics/<name>``; and, where the interval began with another
        member's weights, ``copied_from``, the number of that member.

    Example:
        >>> from lamarck import Record
        >>> hparams = {"lr": 0.1, "optimizer": "adam"}
        >>> record = Record(member=3, generation=1, step=20, value=0.5, fitness=0.5, checkpoint=None, hparams=hparams, parent=(7, 0))
        >>> scalars(record, {"loss": 2.0})
        {'value': 0.5, 'hparams/lr': 0.1, 'metrics/loss': 2.0, 'copied_from': 7.0}
    """
    copied = {} if record.parent is None or record.parent[0] == record.member else {"copied_from": float(record.parent[0])}
    return {"value": record.value} | _numbers("hparams", record.hparams) | _numbers("metrics", metrics) | copied


def _numbers(group: str, values: HParams) -> dict[str, float]:
    return {f"{group}/{name}": float(value) for name, value in values.items() if isinstance(value, bool | int | float)}
