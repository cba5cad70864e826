"""Population training verb by verb, for scripts that save their own files: save, should_exploit, exploit, explore.

The verbs are those of https://github.com/chrischute/pbt, so that a script that was written for it needs its import and its address changed.
What is behind them is the same as behind everything else here: ``save`` ends an interval with a report, and what the next one begins with is
decided at that moment, in one piece.
"""

from __future__ import annotations

import logging
import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, final

from lamarck._errors import CheckpointDamaged, CheckpointMissing, SettingsError, StaleReport, TrainingError
from lamarck.scripts.place import Alone, find, read_space
from lamarck.space import Space
from lamarck.training import seed_everything
from lamarck.types import Failure, HParams, Interval, Report

__all__ = ["Client"]

logger = logging.getLogger("lamarck")


@final
class Client:
    """A script's place in a population, if the script keeps its loop and its files to itself.

    The interval is the time between two calls of `save`. The file that it names goes into the run's store as it is: hosts need share no disk.

    Where the process lives on without training, as that of a notebook does, the interval goes to somebody else when `leave` is called, a
    ``with`` block over the client ends, or the same thread makes another client of the run.

    A script that is started again, or late, may be handed a member that has trained before: it finds that out by `should_exploit`, and asks it
    before it trains.

    Args:
        url: The server; by default ``LAMARCK_URL``. Without one the script is alone, and what is said from ``space`` on holds.
        run: Name of the run; by default ``LAMARCK_RUN``, or ``main``.
        token: What the server was told to let workers in by; by default ``LAMARCK_TOKEN``.
        space: Hyperparameters, as an object or a file that ends in ``.toml``, ``.json`` or ``.csv``. With a server it is what the script
            expects of the run, and need not be given.
        generations: Alone: how often a member saves.
        population_size: Alone: members, trained one after the other.
        mode: Alone: whether a higher (``"max"``) or lower (``"min"``) value is better.
        seed: Alone: seed of everything.
        initial: Alone: configurations that the first members start with.
        journal: Alone: file that the run is written to, and gone on with from.
        folder: Where files of others are put; by default a temporary folder.
        **strategies: Alone: ``exploit``, ``explore`` and ``rescue``, as `lamarck.run` takes them.

    Raises:
        SettingsError: If there is no server and no space, or the run tunes something else than the script expects.
        ServiceError: If the server cannot be reached.

    Example:
        >>> from pathlib import Path
        >>> import lamarck as lk
        >>> client = Client(space=lk.Space(lr=lk.Float(0.0, 1.0)), generations=3, population_size=4)
        >>> _ = Path("fresh").write_text("untrained")
        >>> client.start_from("fresh")
        >>> while not client.over:
        ...     if client.should_exploit():
        ...         client.exploit()
        ...         client.explore()
        ...         weights = Path(client.parameters_path()).read_text()
        ...     _ = Path("weights").write_text("trained")
        ...     client.save("weights", client.hyperparameters()["lr"])
    """

    def __init__(
        self,
        url: str | None = None,
        run: str | None = None,
        token: str | None = None,
        *,
        space: Space | str | os.PathLike[str] | None = None,
        generations: int = 20,
        population_size: int = 1,
        mode: Literal["max", "min"] = "max",
        seed: int = 0,
        initial: Sequence[HParams] = (),
        journal: str | os.PathLike[str] | None = None,
        folder: str | os.PathLike[str] | None = None,
        **strategies: Any,
    ) -> None:
        expected = None if space is None else read_space(space)
        alone = Alone(
            space=expected,
            generations=generations,
            population_size=population_size,
            mode=mode,
            seed=seed,
            initial=initial,
            journal=journal,
            strategies=strategies,
        )
        place = find(alone, url, run, token)
        self._transport, self._checkpoints, self._place = place.transport, place.checkpoints, place
        place.serve(self)
        self._folder = Path(tempfile.mkdtemp(prefix="lamarck-") if folder is None else folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        if folder is None:
            weakref.finalize(self, _remove, self._folder)
        self._holds: str | None = None
        self._path: str | None = None
        self._fetched: Path | None = None
        self._origin: Path | None = None
        self._hparams: dict[str, Any] = {}
        self._interval: Interval | None = None
        first = self._transport(None)
        self._take(first)
        if expected is not None and first is not None and not expected.contains(first.hparams):
            raise SettingsError(
                f"the run assigns {dict(first.hparams)}, which this script's space does not allow; "
                f"it has {', '.join(expected.names)}: begin the run with the same space"
            )

    def leave(self) -> None:
        """Gives the interval back, so that somebody else can train it at once. To go on, make another client."""
        self.__exit__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object = None, error: BaseException | None = None, trace: object = None) -> None:
        self._interval = None
        self._place.leave(error)

    @property
    def over(self) -> bool:
        """Whether nothing is left to train here; what is saved after that does not count."""
        return self._interval is None

    def hyperparameters(self) -> dict[str, Any]:
        """Returns what to train with now, by name."""
        return dict(self._hparams)

    def set_hyperparameter(self, name: str, value: Any) -> None:
        """Accepts what is assigned already, and nothing else: what a member trains with is decided by the run, and written in its journal.

        Args:
            name: Which.
            value: The assigned value.

        Raises:
            SettingsError: If it is another value, or there is no such hyperparameter.
        """
        if name not in self._hparams:
            raise SettingsError(f"{name}: got a hyperparameter that this run does not tune; it tunes {', '.join(self._hparams)}")
        if value != self._hparams[name]:
            raise SettingsError(
                f"{name}: got {value!r}, and {self._hparams[name]!r} is assigned. The run decides what a member trains with: choose its first "
                "configurations by `initial`, and its moves by the explore strategy"
            )

    def parameters_path(self) -> str | None:
        """Returns the file to go on from: what `exploit` fetched, or what was saved last; ``None`` at the very beginning."""
        return self._path

    def start_from(self, path: str | os.PathLike[str]) -> None:
        """Names a file of fresh weights, so that this script can train several members: needed where there are fewer scripts than members.

        Args:
            path: The file; it is copied.

        Raises:
            SettingsError: If there is no such file.
        """
        origin = self._folder / f"fresh{Path(path).suffix}"
        origin.write_bytes(_read(path))
        self._origin = origin

    def should_exploit(self) -> bool:
        """Returns whether the weights in hand are not those to go on from, so that `exploit` and loading must come before training.

        That is so when the member takes over another's weights, and when this script was handed a member that somebody else has trained.

        Raises:
            TrainingError: If a member is to start from fresh weights, and the script has trained already and did not say by `start_from` where
                fresh weights are.
        """
        interval = self._interval
        if interval is None:
            return False
        if interval.restore is None and self._holds is not None and self._origin is None:
            raise TrainingError(
                f"member {interval.member} is to start from fresh weights, and this script has trained others: start it again, or name a file "
                "of fresh weights before training, by client.start_from(path)"
            )
        return interval.restore != self._holds

    def exploit(self) -> None:
        """Fetches the weights to go on from; `parameters_path` then names them. Does nothing if they are in hand.

        Raises:
            TrainingError: As `should_exploit`.
        """
        while self.should_exploit():
            interval = self._interval
            assert interval is not None
            if interval.restore is None:
                self._path, self._holds = str(self._origin), None
                continue
            try:
                state = self._checkpoints.get(interval.restore)
            except (CheckpointDamaged, CheckpointMissing) as error:
                failure = Failure(
                    member=interval.member, generation=interval.generation, kind="damaged", message=str(error), checkpoint=interval.restore
                )
                self._take(self._transport(failure))
                continue
            self._put(interval.restore, state)

    def explore(self) -> None:
        """Does nothing more: hyperparameters were changed in the moment in which it was decided whom to copy; `hyperparameters` has them."""

    def save(self, path: str | os.PathLike[str], value: float) -> None:
        """Says how good the weights in a file are, and learns what comes next; in a synchronous run this waits for the others.

        When it returns, file and report are safe: the file may be changed or deleted.

        Args:
            path: The file that was evaluated.
            value: The metric; NaN and infinity count as the worst there is.

        Raises:
            SettingsError: If there is no such file.
            TrainingError: If the script has trained from other weights than it was to: it did not ask `should_exploit`, or did not `exploit`.
            ReportError: If the value is not a number.
        """
        interval = self._interval
        if interval is None:
            logger.warning("the run is over; what is saved now does not count: ask client.over")
            return
        if self.should_exploit():
            raise TrainingError(
                f"member {interval.member} was to go on from other weights than this script has trained: before training, ask "
                "client.should_exploit(), and if so call client.exploit() and load client.parameters_path()"
            )
        content = _read(path)
        # First without the checkpoint: what is not a number is refused before anything is written.
        report = Report(member=interval.member, generation=interval.generation, step=interval.until, value=value)
        name = self._checkpoints.put(interval.member, interval.generation, {"file": content, "suffix": Path(path).suffix})
        try:
            following = self._transport(replace(report, checkpoint=name))
            self._holds = name
        except StaleReport as error:
            logger.warning("%s", error)
            following = self._transport(None)
            self._holds = ""  # no checkpoint is called that: whatever comes next has to be fetched
        self._path = os.fspath(path)
        self._take(following)

    def _take(self, interval: Interval | None) -> None:
        self._interval = interval
        if interval is not None:
            self._hparams = dict(interval.hparams)
            seed_everything(interval.seed)

    def _put(self, name: str, state: Any) -> None:
        """Writes another's file, whole or not at all, and removes the one before."""
        target = self._folder / f"{name.replace('/', '_').replace('#', '_')}{Path('x' + state['suffix']).suffix}"
        part = target.with_name(f"{target.name}.part")
        part.write_bytes(state["file"])
        part.replace(target)
        if self._fetched is not None and self._fetched != target:
            self._fetched.unlink(missing_ok=True)
        self._path, self._fetched, self._holds = str(target), target, name


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"path: {os.fspath(path)!r} cannot be read: {error.strerror or error}; save one file, then name it") from None


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink(missing_ok=True)
    folder.rmdir()
