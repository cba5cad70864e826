"""What a guard says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

__all__ = ["Finding", "generations_text"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about a run that its owner should know.

    Args:
        name: What kind of thing, as one word for programs, e.g. ``"noise"``.
        severity: ``"warning"`` if it probably costs result or time, ``"note"`` if it is worth knowing.
        text: For people: what was seen, why it matters, what to do.
        subject: Hyperparameter that it is about, or empty. Name and subject together are said once in a run.
        generation: Generation that showed it, or ``None`` if the settings do.

    Example:
        >>> print(Finding(name="few_members", severity="warning", text="The population has 2 members."))
        The population has 2 members.
    """

    name: str
    severity: Literal["note", "warning"]
    text: str
    subject: str = ""
    generation: int | None = None

    def __str__(self) -> str:
        return self.text


def generations_text(number: float) -> str:
    """Writes a number of generations with its noun, rounded.

    Example:
        >>> generations_text(1.2), generations_text(6)
        ('1 generation', '6 generations')
    """
    return f"{number:.0f} generation{'' if round(number) == 1 else 's'}"
