"""A run in words: what won, by which schedule, what that was worth, what the guards say, how the run was made, and whom to cite."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from lamarck.guards import Finding, findings_of
from lamarck.history import History
from lamarck.population import Record
from lamarck.space import Constant
from lamarck.web.citations import bibtex

__all__ = ["findings", "made", "summary"]

_KNOWN = ("train", "script", "versions", "machine", "command")


def summary(history: History, fetch: str | None = None) -> dict[str, Any]:
    """Returns a run in words, as plain JSON values.

    Args:
        history: The run, also while it is going on.
        fetch: Command that fetches the best weights.

    Returns:
        ``"headline"``, a sentence; ``"points"``, further sentences; ``"schedule"``, the winner's: names, and for each piece its first step, the
        step after its last and values as text; ``"findings"``, what the guards say; ``"made"``, pairs of a label and a text; ``"cite"``,
        BibTeX; ``"fetch"``, the command, if there are weights to fetch.

    Example:
        >>> import lamarck as lk
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(interval.generation + interval.hparams["lr"])
        >>> space = lk.Space(lr=lk.Categorical([0.25, 0.5]))
        >>> history = lk.run(train, space, population_size=2, interval=5, generations=3, explore=lk.explore.Keep())
        >>> told = summary(history)
        >>> print(told["headline"])
        Member 0 has the best value, 2.5, in generation 2 at step 15. Higher is better.
        >>> told["points"][0]
        'Its value in the first generation was 0.5; the best there was 0.5, the median 0.375.'
    """
    known = any(record.finite for record in history.records)
    return {
        "headline": _headline(history) if known else "No finite value has been reported yet.",
        "points": [*(_points(history) if known else ()), *_course(history)],
        "schedule": _schedule(history) if known else {"names": [], "pieces": []},
        "findings": findings(findings_of(history)),
        "made": made(history),
        "cite": bibtex(history.started.strategies),
        "fetch": fetch if known else None,
    }


def findings(found: tuple[Finding, ...]) -> list[dict[str, Any]]:
    """Returns what the guards say as plain JSON values."""
    return [{"severity": it.severity, "subject": it.subject, "generation": it.generation, "text": it.text} for it in found]


# ---- what won --------------------------------------------------------------------------------------------------------------------------------


def _headline(history: History) -> str:
    best, better = history.best, "Higher" if history.settings.mode == "max" else "Lower"
    return (
        f"Member {best.member} has the best value, {_number(best.value)}, in generation {best.generation} at step {best.step:,}. "
        f"{better} is better."
    )


def _points(history: History) -> Iterator[str]:
    best, line = history.best, history.lineage()
    first = [record for record in history.generation(0) if record.finite]
    newest = [record for record in _newest(history) if record.finite]
    if first:
        top = max(first, key=lambda record: record.fitness)
        middle = statistics.median(record.value for record in first)
        yield (
            f"Its value in the first generation was {_value(line[0])}; the best there was {_number(top.value)}, the median {_number(middle)}."
        )
        if best.value != top.value:
            yield f"It is {_gain(best.value, top.value)} better than the best of the first generation."
    if len(newest) > 1:
        middle = statistics.median(record.value for record in newest)
        gain = "no better" if middle == best.value else f"{_gain(best.value, middle)} better"
        yield f"The median of the members' newest values is {_number(middle)}; the best is {gain}."
    moves = sum(after.member != before.member for before, after in itertools.pairwise(line))
    members = len({record.member for record in line})
    yield (
        f"Its weights were trained by {_count(members, 'member')} and changed hands {_count(moves, 'time')}, "
        f"beginning with member {line[0].member}."
    )
    yield from _course_of_hparams(history)


def _course_of_hparams(history: History) -> Iterator[str]:
    """How each hyperparameter went along the winner's schedule."""
    space, pieces = history.space, list(history.schedule())
    for name in (name for name, parameter in space.items() if not isinstance(parameter, Constant)):
        course = [piece.hparams.get(name) for piece in pieces]
        changes = sum(after != before for before, after in itertools.pairwise(course))
        if changes:
            yield f"{name} went from {_text(course[0])} to {_text(course[-1])}, in {_count(changes, 'change')}."
        else:
            yield f"{name} was {_text(course[0])} all along."


def _course(history: History) -> Iterator[str]:
    """What happened to the population."""
    size, newest = history.settings.population_size, _newest(history)
    if newest:
        families = len({history.founders[record.key] for record in newest})
        yield f"Weights were copied {_count(len(history.copies), 'time')}. The members now descend from {families} of {size} beginnings."
    if history.failures:
        yield f"{_count(len(history.failures), 'interval')} failed and had to be trained again."
    for member, reason in history.retired.items():
        yield f"Member {member} failed for good: {reason}"
    if history.ended is None:
        yield "The run has not ended."
    else:
        ends = {"generations": "All generations are done.", "target": "The run ended early: its target was reached."}
        yield ends.get(history.ended, "The run ended because every member failed for good.")


def _newest(history: History) -> list[Record]:
    """The newest report of every member that has one."""
    return list({record.member: record for record in history.records}.values())


def _schedule(history: History) -> dict[str, Any]:
    names = [name for name, parameter in history.space.items() if not isinstance(parameter, Constant)]
    pieces = [[piece.start, piece.until, *(_text(piece.hparams.get(name)) for name in names)] for piece in history.schedule()]
    return {"names": names, "pieces": pieces}


# ---- how it was made -------------------------------------------------------------------------------------------------------------------------


def made(history: History) -> list[tuple[str, str]]:
    """Returns how a run was made: labels and texts."""
    settings, info = history.settings, history.started.info
    lead = {0: "synchronous", None: "asynchronous"}.get(settings.max_lead, f"at most {settings.max_lead} generations ahead")
    versions = info.get("versions")
    rows = {
        "training function": _text(info.get("train")),
        "population": f"{settings.population_size} members, {lead}",
        "generations": f"{settings.generations} of {settings.interval:,} steps",
        **{name: strategy_text(history.started.strategies.get(name)) for name in ("exploit", "explore", "rescue")},
        "compared with": "reports of the same age or younger" if settings.compare == "age" else "everybody's latest report",
        "target": "none" if settings.target is None else _number(settings.target),
        "seed": str(settings.seed),
        "search space": "; ".join(f"{name}: {parameter}" for name, parameter in history.space.items()),
        "machine": _text(info.get("machine")),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, Mapping) else "",
        "command": _text(info.get("command")),
    }
    told = [(label, text) for label, text in rows.items() if text and text != _text(None)]
    return told + [(str(key), _text(value)) for key, value in info.items() if key not in _KNOWN and isinstance(value, str | int | float)]


def strategy_text(description: object) -> str:
    """Writes a strategy as one would call it.

    Example:
        >>> strategy_text({"name": "truncation", "bottom": 0.2, "top": 0.2})
        'truncation(bottom=0.2, top=0.2)'
    """
    match description:
        case {"name": str(name), **settings}:
            given = ", ".join(f"{key}={strategy_text(value)}" for key, value in settings.items())
            return f"{name}({given})" if given else name
        case Mapping():
            return "{" + ", ".join(f"{key}: {strategy_text(value)}" for key, value in description.items()) + "}"
        case list() | tuple():
            return ", ".join(map(strategy_text, description))
        case _:
            return _text(description)


# ---- numbers ---------------------------------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return _number(value)
        case _:
            return str(value)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _value(record: Record) -> str:
    return _number(record.value) if record.finite else "not finite"


def _gain(value: float, against: float) -> str:
    gap = abs(value - against)
    share = f" ({gap / abs(against):.1%})" if against and gap / abs(against) < 2 else ""
    return f"{_number(gap)}{share}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
