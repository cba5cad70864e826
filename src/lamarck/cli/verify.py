"""``lamarck verify``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from lamarck import __version__
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

_DECIDED = ("interval.hparams", "interval.parent", "interval.restore", "interval.start", "interval.until", "interval.info")
"""Of an interval, what a space and strategies decide, and what follows from that."""


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
    print(*_lines(mismatch), *_perhaps(mismatch, events[0]), sep="\n")
    return 1


def _lines(mismatch: Mismatch) -> Iterator[str]:
    found, expected = mismatch.found, mismatch.expected
    yield f"event {mismatch.sequence} does not follow from what was known before it: {mismatch.why}"
    yield f"found     {_words(found)}"
    yield f"expected  {'nothing' if expected is None else _words(expected)}"
    for key, (was, due) in _differences(mismatch).items():
        yield f"          {key}: {was!r} instead of {due!r}"


def _perhaps(mismatch: Mismatch, started: Event) -> Iterator[str]:
    """What may be the reason, where nobody need have touched the journal."""
    differences = _differences(mismatch)
    if isinstance(mismatch.found, Assigned) and differences and all(key.startswith(_DECIDED) for key in differences):
        yield (
            "perhaps   somebody resumed the run here with another space, exploit or explore, which a journal does not record: "
            "all that differs is what these decide. If nobody did, the journal was changed"
        )
    versions = started.info.get("versions") if isinstance(started, Started) else None
    if isinstance(versions, Mapping) and versions.get("lamarck", __version__) != __version__:
        yield f"          or lamarck {versions['lamarck']}, which began the run, decides this otherwise than {__version__}, which verifies it"


def _differences(mismatch: Mismatch) -> dict[str, tuple[Any, Any]]:
    """Where two events of one kind differ: what was found, and what was due."""
    found, expected = mismatch.found, mismatch.expected
    if type(found) is not type(expected):
        return {}
    assert expected is not None
    was, due = _flat(dataclasses.asdict(found)), _flat(dataclasses.asdict(expected))
    return {key: (was.get(key), due.get(key)) for key in sorted(was.keys() | due.keys()) if was.get(key) != due.get(key)}


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
