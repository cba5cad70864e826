"""One row for each report, as a file that any tool reads: CSV or JSON lines.

For each row the file is opened, added to and closed again, so that there is nothing to flush or to close, and a process that is killed leaves
whole rows behind it, at most the last one torn. Rows are not forced onto the disk as the journal is: what a machine loses when its power fails
can be made from the journal again, by `History.table`.
"""

from __future__ import annotations

import abc
import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from lamarck._errors import SettingsError
from lamarck._files import whole
from lamarck.population import Population, Record
from lamarck.space import Space
from lamarck.types import Event, Key, Reported, Started

__all__ = ["CsvObserver", "JsonlObserver", "RowObserver"]

Row = dict[str, Any]


class RowObserver(abc.ABC):
    """Writes one row for each report.

    A new run begins the file anew. A resumed run goes on with it, after putting it in order: rows that the journal does not know and a torn
    last one are dropped, and the newest reports are added if a kill has kept them out. No report is in it twice.

    Args:
        path: The file. Its folder must exist.

    Raises:
        SettingsError: If the folder does not exist, or the path is a folder itself.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        if not self.path.parent.is_dir() or self.path.is_dir():
            raise SettingsError(f"path: got {str(path)!r}; it must be a file in a folder that exists")
        self._in_order = False

    @final
    def __call__(self, event: Event, population: Population) -> None:
        """Takes in an event."""
        match event:
            case Started():
                self._replace([], Space.from_dict(event.space).names)
            case Reported():
                record = population.members[event.report.member].last
                assert record is not None
                row = self._row(record, event.report.metrics)
                if not (self._in_order and self._fits(row)):
                    self._replace([*self._known(population, record.key), row], self._names(population))
                    return
                self._in_order = False  # until the row is written: a full disk leaves a torn one
                with self.path.open("a", encoding="utf-8", newline="") as file:
                    file.write(self._text([row]))
                self._in_order = True

    def _known(self, population: Population, newest: Key) -> list[Row]:
        """The rows of the file that the journal knows, and those of the newest reports that it lacks; but for one."""
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        rows: dict[Key, Row] = {}
        for row in self._read(text):
            try:
                member, generation = int(row["member"]), int(row["generation"])
            except (KeyError, TypeError, ValueError):
                continue
            if 0 <= member < len(population) and generation < population.generations[member]:
                rows[member, generation] = row
        for record in (record for member in population.members for record in member.records):
            rows.setdefault(record.key, self._row(record, {}))
        rows.pop(newest)
        return list(rows.values())

    def _replace(self, rows: Sequence[Row], names: Iterable[str]) -> None:
        """Writes the whole file, at once or not at all."""
        with whole(self.path) as draft:
            draft.write_text(self._head(rows, names) + self._text(rows), encoding="utf-8", newline="")
        self._in_order = True

    @staticmethod
    def _names(population: Population) -> list[str]:
        """The hyperparameters that the population knows of."""
        records = (record.hparams for member in population.members for record in member.records)
        return list(dict.fromkeys(name for hparams in (*population.initial, *records) for name in hparams))

    @abc.abstractmethod
    def _row(self, record: Record, metrics: Mapping[str, float]) -> Row:
        """A report, by column."""

    @abc.abstractmethod
    def _fits(self, row: Row) -> bool:
        """Whether the file as it is has a place for all of a row."""

    @abc.abstractmethod
    def _head(self, rows: Sequence[Row], names: Iterable[str]) -> str:
        """What the file begins with."""

    @abc.abstractmethod
    def _text(self, rows: Sequence[Row]) -> str:
        """Rows as they are written."""

    @abc.abstractmethod
    def _read(self, text: str) -> Iterable[Row]:
        """Rows as they were written; what is torn is left out."""


@final
class CsvObserver(RowObserver):
    """Writes a CSV file: a header, then a line for each report.

    Columns are ``member``, ``generation``, ``step``, ``value``, ``checkpoint``, ``parent_member``, ``parent_generation``, and one
    ``hparams.<name>`` for each hyperparameter, empty where it is inactive. Samples and metrics, which differ from report to report, are in the
    JSON lines of `JsonlObserver`.

    Args:
        path: See `RowObserver`.

    Example:
        >>> from pathlib import Path
        >>> import lamarck as lk
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(0.5)
        >>> rows, space = CsvObserver("run.csv"), lk.Space(n=lk.Int(1, 2))
        >>> history = lk.run(train, space, population_size=2, interval=5, generations=1, initial=[{"n": 2}, {"n": 1}], observers=[rows])
        >>> print(Path("run.csv").read_text())
        member,generation,step,value,checkpoint,parent_member,parent_generation,hparams.n
        0,0,5,0.5,0-0,,,2
        1,0,5,0.5,1-0,,,1
        <BLANKLINE>
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._columns: list[str] = []

    def _row(self, record: Record, metrics: Mapping[str, float]) -> Row:
        member, generation = record.parent or (None, None)
        row = {name: getattr(record, name) for name in ("member", "generation", "step", "value", "checkpoint")}
        row |= {"parent_member": member, "parent_generation": generation}
        return row | {f"hparams.{name}": value for name, value in record.hparams.items()}

    def _fits(self, row: Row) -> bool:
        return row.keys() <= set(self._columns)

    def _head(self, rows: Sequence[Row], names: Iterable[str]) -> str:
        fixed = ["member", "generation", "step", "value", "checkpoint", "parent_member", "parent_generation"]
        self._columns = list(dict.fromkeys([*fixed, *(name for row in rows for name in row), *(f"hparams.{name}" for name in names)]))
        return self._text([{name: name for name in self._columns}])

    def _text(self, rows: Sequence[Row]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(rows)
        return text.getvalue()

    def _read(self, text: str) -> Iterable[Row]:
        rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""), strict=True)
        try:
            yield from (row for row in rows if None not in row and None not in row.values())
        except csv.Error:  # torn within quotes
            return


@final
class JsonlObserver(RowObserver):
    """Writes JSON lines: an object for each report.

    Its keys are ``member``, ``generation``, ``step``, ``value``, ``checkpoint``, ``parent`` (``[member, generation]`` or null), ``hparams``,
    ``metrics`` and ``samples``. JSON has no NaN and no infinity: they are null, and the journal knows which. A report that is added after a
    kill has no metrics.

    Args:
        path: See `RowObserver`.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> import lamarck as lk
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(0.5, metrics={"loss": 0.25})
        >>> rows, space = JsonlObserver("run.jsonl"), lk.Space(n=lk.Int(1, 2))
        >>> history = lk.run(train, space, population_size=1, interval=5, generations=1, observers=[rows])
        >>> json.loads(Path("run.jsonl").read_text())["metrics"]
        {'loss': 0.25}
    """

    def _row(self, record: Record, metrics: Mapping[str, float]) -> Row:
        return {
            "member": record.member,
            "generation": record.generation,
            "step": record.step,
            "value": _finite(record.value),
            "checkpoint": record.checkpoint,
            "parent": record.parent,
            "hparams": dict(record.hparams),
            "metrics": {name: _finite(number) for name, number in metrics.items()},
            "samples": [_finite(number) for number in record.samples],
        }

    def _fits(self, row: Row) -> bool:
        return True

    def _head(self, rows: Sequence[Row], names: Iterable[str]) -> str:
        return ""

    def _text(self, rows: Sequence[Row]) -> str:
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)

    def _read(self, text: str) -> Iterable[Row]:
        for line in text.split("\n"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
