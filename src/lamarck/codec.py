"""The only serialiser: records of `lamarck.types` to canonical JSON bytes and back.

    {"$type":"Reported","v":1,"report":{"generation":7,"member":3,"step":4000,"value":0.91}}

* One record is one JSON object: UTF-8, no spaces, and one way to write each value. ``$type`` names the record and ``v`` the version of the
  schema; both stand at the top only, because below it the field says what the value is. Fields follow in alphabetical order.
* Mappings keep their order, because it may carry meaning: a space draws its hyperparameters in the order in which they were declared, and a
  resumed run must draw the same.
* A field that holds its default is left out if the default is empty (``None``, ``()``, ``{}``, ``""``): nothing said is nothing written.
  Defaults that say something, as those of `Settings` do, are always written, so that a later change of one does not change an old journal.
* JSON has no NaN and no infinity: they are ``{"$float":"nan"}``, ``"inf"`` and ``"-inf"``. No other key of a mapping may begin with ``$``.
* NumPy scalars are written as the plain values they hold. Anything else that JSON does not know is a `CodecError` that names the path to it; so
  is everything that `decode` would not take back: a refused report is better than a journal that nobody can read.
* Mappings and what is in them come back as plain ``dict``, ``list`` and scalars, uninterpreted.

How a class is written follows from its annotations alone: the tables are computed once, and a new field needs no line here. The standard
library's ``json`` does the parsing, because the core needs NumPy and nothing else.

When the schema changes, raise `VERSION` and add to `UPCASTERS` the function that turns an object of the version before into one of the new.
"""

from __future__ import annotations

import gc
import json
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

from lamarck._errors import CodecError
from lamarck._kinds import MAX_DEPTH, KindError
from lamarck._reading import reader
from lamarck._writing import writer
from lamarck.types import Event, Failure, Interval, Report, Settings, Source

__all__ = ["MAX_BYTES", "MAX_DEPTH", "UPCASTERS", "VERSION", "Record", "decode", "decode_event", "decode_events", "encode", "interval_in"]

VERSION = 1
"""Version of the schema that is written."""

MAX_BYTES = 64 * 2**20
"""Longest record: the first configurations of 100,000 members, with room. What is longer is a mistake or an attack."""

UPCASTERS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a version to the function that makes an object of the next one out of an object of it; ``v`` itself is already taken off."""

Record = Event | Settings | Interval | Report | Failure | Source
"""Everything that can be written: events and the messages they are made of."""

_PAGE = 64
"""Events that are parsed together: enough to share the strings that are their keys."""

_EVENTS: tuple[type[Any], ...] = typing.get_args(Event)
_RECORDS: tuple[type[Any], ...] = typing.get_args(Record)
_WRITERS = {cls: writer(cls) for cls in _RECORDS}
_READERS = {cls.__name__: reader(cls) for cls in _RECORDS}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_ASSIGNED, _INTERVAL = (
    f'{{"$type":"{name}","v":{VERSION},{field}'.encode() for name, field in (("Assigned", '"interval":{'), ("Interval", ""))
)
_READER = json.JSONDecoder(parse_constant=_refuse_constant)


def encode(record: Record) -> bytes:
    """Writes a record.

    Args:
        record: An event or a message.

    Returns:
        One line of canonical JSON, without the newline: equal records, with their mappings in the same order, give equal bytes.

    Raises:
        CodecError: If the record holds a value that cannot be written, or that `decode` would not take back; the message names the path to it.

    Example:
        >>> from lamarck import Report
        >>> from lamarck.types import Reported
        >>> encode(Reported(report=Report(member=3, generation=7, step=4000, value=0.91)))
        b'{"$type":"Reported","v":1,"report":{"generation":7,"member":3,"step":4000,"value":0.91}}'
        >>> encode(Report(member=3, generation=7, step=4000, value=float("nan")))
        b'{"$type":"Report","v":1,"generation":7,"member":3,"step":4000,"value":{"$float":"nan"}}'
        >>> encode(Report(member=3, generation=7, step=4000, value=0.91, metrics={"loss": {0.1}}))
        Traceback (most recent call last):
            ...
        lamarck._errors.CodecError: Report.metrics.loss: got {0.1} (set); it must be a number
    """
    write = _WRITERS.get(type(record))
    if write is None:
        raise CodecError(f"got a {type(record).__name__}; records are {', '.join(_READERS)}")
    name = type(record).__name__
    try:
        data = f'{{"$type":"{name}","v":{VERSION},{write(record)[1:]}'.encode()
    except KindError as wrong:
        raise CodecError(str(wrong.under(name))) from None
    except UnicodeEncodeError as error:
        around = error.object[max(error.start - 20, 0) : error.end + 20]
        raise CodecError(f"{name}: the text {around!r} holds half a character (a lone surrogate), which UTF-8 cannot write") from None
    except ValueError as error:
        raise CodecError(f"{name}: a whole number is too long to be written: {error}") from None
    if len(data) > MAX_BYTES:
        raise CodecError(f"{name}: the record takes {len(data):,} bytes; at most {MAX_BYTES:,} are allowed: keep large things in checkpoints")
    return data


def interval_in(event: bytes) -> bytes:
    """Cuts the interval out of an event, as the message that `encode` would write.

    Args:
        event: What `encode` made of an `Assigned`.

    Example:
        >>> from lamarck import Interval
        >>> from lamarck.types import Assigned
        >>> interval = Interval(member=3, generation=7, hparams={"lr": 0.1}, start=0, until=9, restore=None, parent=None, seed=0)
        >>> interval_in(encode(Assigned(interval=interval))) == encode(interval)
        True
    """
    return _INTERVAL + event[len(_ASSIGNED) : -1]


def decode(data: bytes) -> Record:
    """Reads a record, strictly.

    Args:
        data: What `encode` wrote, in this version or an earlier one.

    Returns:
        The record.

    Raises:
        CodecError: If the bytes are not a record: not UTF-8, not JSON, an unknown type, a missing, unknown or mistyped field, a version that
            only a newer Lamarck knows, more than `MAX_BYTES` long or nested deeper than `MAX_DEPTH`. Bytes cause no other error.

    Example:
        >>> decode(b'{"$type":"Retired","v":1,"member":3,"reason":"diverged"}')
        Retired(member=3, reason='diverged')
        >>> decode(b'{"$type":"Retired","v":2,"member":3,"reason":"diverged"}')
        Traceback (most recent call last):
            ...
        lamarck._errors.CodecError: got a record of version 2, and versions up to 1 are known here: written by a newer Lamarck: upgrade
    """
    return _record(_parse(data))


def _record(raw: dict[str, Any]) -> Record:
    version, name = raw.pop("v", None), raw.pop("$type", None)
    if type(version) is not int or version < 1:
        raise CodecError(f"v: got {version!r}; a record carries the version of its schema, a whole number of at least 1")
    if version > VERSION:
        raise CodecError(f"got a record of version {version}, and versions up to {VERSION} are known here: written by a newer Lamarck: upgrade")
    if version < VERSION:
        raw, name = _upcast({"$type": name, **raw}, version)
    read = _READERS.get(name) if type(name) is str else None
    if read is None:
        raise CodecError(f"$type: got {name!r}; records are {', '.join(_READERS)}")
    try:
        record: Record = read(raw)
    except KindError as wrong:
        raise CodecError(str(wrong.under(name))) from None
    return record


def decode_event(data: bytes) -> Event:
    """Reads a record that must be an event: what a journal holds.

    Args:
        data: What `encode` made of an event.

    Raises:
        CodecError: As `decode`, or if the record is only a message.

    Example:
        >>> from lamarck.types import Ended
        >>> decode_event(encode(Ended(reason="target")))
        Ended(reason='target')
    """
    return _event(decode(data))


def _event(record: Any) -> Event:
    event: Event = record
    if type(event) not in _EVENTS:
        raise CodecError(f"got a {type(record).__name__}; a journal holds {', '.join(cls.__name__ for cls in _EVENTS)}")
    return event


def decode_events(lines: Iterable[bytes]) -> Iterator[Event]:
    """Reads many events, in two thirds of the time that `decode_event` takes for one after the other.

    Args:
        lines: What `encode` made of events.

    Raises:
        CodecError: As `decode_event`, after the events before.

    Example:
        >>> from lamarck.types import Ended, Retired
        >>> list(decode_events([encode(Retired(member=0, reason="diverged")), encode(Ended(reason="lost"))]))
        [Retired(member=0, reason='diverged'), Ended(reason='lost')]
    """
    stream = iter(lines)
    while page := list(islice(stream, _PAGE)):
        yield from _at_once(page) or map(decode_event, page)


def _at_once(lines: list[bytes]) -> list[Event]:
    """Reads a page of events with one call of the parser, or nothing if anything about it is out of the ordinary.

    Joined lines are parsed as they would be one by one. A line that leaves something open, so that the next one ends inside it, is found out:
    that one's ``$type`` then stands where no record allows it.
    """
    text = b",".join(lines)
    if len(text) > MAX_BYTES or b"\\" in text or not all(line.startswith(b'{"$type":') and line.endswith(b"}") for line in lines):
        return []
    collecting = gc.isenabled()
    gc.disable()  # records hold no cycles: to look for some among all that is made here takes time and finds nothing
    try:
        raws = _READER.decode(f"[{str(text, 'utf-8')}]")
        return [_event(_record(raw)) for raw in raws] if len(raws) == len(lines) else []
    except (ValueError, RecursionError, CodecError):
        return []
    finally:
        if collecting:
            gc.enable()


def _parse(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise CodecError(f"got {len(data):,} bytes; a record has at most {MAX_BYTES:,}")
    try:
        text = str(data, "utf-8")
        raw, end = _READER.raw_decode(text)
        if end != len(text):
            raise ValueError(f"{len(text) - end} more characters follow it")
        if "\\" in text:
            json.dumps(raw, ensure_ascii=False).encode()  # half a character can be escaped, but not written again
    except (ValueError, RecursionError) as error:
        raise CodecError(f"the bytes {_shown(data)} are not a record: {error}") from None
    if type(raw) is not dict:
        raise CodecError(f"the bytes {_shown(data)} are not a record: a record is a JSON object")
    return raw


def _shown(data: bytes) -> str:
    return repr(bytes(data[:60])) + ("..." if len(data) > 60 else "")


def _upcast(raw: dict[str, Any], version: int) -> tuple[dict[str, Any], Any]:
    try:
        for known in range(version, VERSION):
            raw = UPCASTERS[known](raw)
        return raw, raw.pop("$type")
    except Exception as error:
        raise CodecError(f"the record of version {version} could not be brought up to version {VERSION}: {error!r}") from error
