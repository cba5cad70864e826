"""Outcomes as a table: for people, and for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from lamarck._student import confidence
from lamarck.demos.trials import Outcome

__all__ = ["Block", "to_csv", "to_text"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Outcomes that are compared with each other.

    Args:
        name: What they have in common, in a word or two.
        title: What they have in common, in a sentence.
        outcomes: One for each line, all on the same seeds.
        reference: Name of the case that the others are compared with, seed by seed.
    """

    name: str
    title: str
    outcomes: Sequence[Outcome]
    reference: str

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row for each outcome: value of the best member at the end, and its distance from the reference's, paired by seed."""
        reference = next(outcome for outcome in self.outcomes if outcome.case.name == self.reference)
        rows: list[dict[str, Any]] = []
        for outcome in self.outcomes:
            mean, low, high = confidence(outcome.best)
            gain, gain_low, gain_high = confidence(outcome.best - reference.best)
            rows.append(
                {
                    "experiment": self.name,
                    "setting": outcome.case.name,
                    "population": len(outcome.case.initial),
                    "interval": outcome.case.interval,
                    "steps": outcome.case.steps,
                    "seeds": len(outcome.best),
                    "mean": mean,
                    "low": low,
                    "high": high,
                    "min": float(outcome.best.min()),
                    "max": float(outcome.best.max()),
                    "halfway": float(outcome.halfway.mean()),
                    "copies": float(outcome.copies.mean()),
                    "reference": self.reference,
                    "gain": gain,
                    "gain_low": gain_low,
                    "gain_high": gain_high,
                }
            )
        return rows


def to_csv(blocks: Sequence[Block]) -> str:
    """Returns all rows as CSV with a header, numbers in full precision.

    ``mean``, ``low`` and ``high`` are about the score at the end, ``gain...`` about its distance from the reference's, seed by seed.
    """
    rows = [row for block in blocks for row in block.rows()]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def to_text(blocks: Sequence[Block]) -> str:
    """Returns the blocks as tables for a terminal, at most 120 columns wide.

    Columns: mean score halfway and at the end, the latter's 95 % confidence interval, the worst and the best run, copies in a run, and what is
    gained over the reference.
    """
    return "\n\n".join(map(_text, blocks))


def _text(block: Block) -> str:
    lines = [
        block.title,
        f"{'':24} {'halfway':>7} {'end':>7}  {'95 % confidence':^16}  {'worst':>7} {'best':>7} {'copies':>6}  minus {block.reference} [95 %]",
    ]
    for row in block.rows():
        gain = "" if row["setting"] == block.reference else f"{row['gain']:+.4f} [{row['gain_low']:+.4f}, {row['gain_high']:+.4f}]"
        limits = f"[{row['low']:.4f}, {row['high']:.4f}]"
        ends = f"{row['halfway']:7.4f} {row['mean']:7.4f}  {limits:^16}  {row['min']:7.4f} {row['max']:7.4f} {row['copies']:6.1f}"
        lines.append(f"{row['setting']:24} {ends}  {gain}".rstrip())
    return "\n".join(lines)
