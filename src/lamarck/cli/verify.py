"""``lamarck verify``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from lamarck._errors import SettingsError, StrategyError
from lamarck.cli._text import configuration
from lamarck.cli.read import JournalFile, RunName, read_events
from lamarck.pbt import PBT
from lamarck.types import Assigned, Damaged, Ended, Event, Failed, Reported, Retired, Started
from lamarck.verify import Mismatch
from lamarck.verify import verify as first_mismatch

__all__ = ["EXAMPLES", "verify"]

EXAMPLES = """Examples:

  lamarck verify train.db
"""


def verify(journal: JournalFile, /, *, name: RunName = "main") -> int:
    """Make every decision of a run again and compare.

    Reports are taken as they are; that each configuration, copy, retirement
    and the end follow from them is what is checked. The exit status is 0 if
    all do and 1 if one does not. Works while the run is going on. A run that
    was resumed with another space or strategy stops following there.
    """
    events = read_events(journal, name)
    try:
        if isinstance(events[0], Started) and not PBT.of(events[0]).space.resolved:
            raise SettingsError("its search space has a Python function, which a journal cannot hold")
        mismatch = first_mismatch(events)
    except (SettingsError, StrategyError) as error:
        cure = "verify it from Python, with lamarck.verify.verify(events, space=..., explore=...)"
        raise SettingsError(f"this run cannot be verified from its journal alone; {cure}: {error}") from None
    if mismatch is None:
        print(f"every decision follows ({len(events)} {'event' if len(events) == 1 else 'events'})")
        return 0
    print(*_lines(mismatch), sep="\n")
    return 1


def _lines(mismatch: Mismatch) -> Iterator[str]:
    found, expected = mismatch.found, mismatch.expected
    yield f"event {mismatch.sequence} does not follow from what was known before it: {mismatch.why}"
    yield f"found     {_words(found)}"
    yield f"expected  {'nothing' if expected is None else _words(expected)}"
    if type(found) is type(expected):
        was, due = _flat(dataclasses.asdict(found)), _flat(dataclasses.asdict(expected))
        for key in sorted(was.keys() | due.keys()):
            if was.get(key) != due.get(key):
                yield f"          {key}: {was.get(key)!r} instead of {due.get(key)!r}"


def _words(event: Event) -> str:
    """An event in one line."""
    match event:
        case Assigned():
            it = event.interval
            origin = "from nothing" if it.parent is None else f"from member {it.parent[0]}, generation {it.parent[1]}"
            return f"member {it.member} begins generation {it.generation} {origin}, with {configuration(it.hparams, it.hparams)}"
        case Reported():
            return f"member {event.report.member} reports generation {event.report.generation}, value {event.report.value:.6g}"
        case Failed():
            return f"member {event.failure.member} fails in generation {event.failure.generation} ({event.failure.kind})"
        case Damaged():
            return f"checkpoint {event.checkpoint} of member {event.member} is damaged"
        case Retired():
            return f"member {event.member} retires: {event.reason}"
        case Ended():
            return f"the run ends: {event.reason}"
        case Started():
            return "the run begins"


def _flat(record: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        name = f"{above}.{key}" if above else key
        flat |= _flat(value, name) if isinstance(value, Mapping) else {name: value}
    return flat
