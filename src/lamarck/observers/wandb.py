"""Weights & Biases: a group of runs, one for each member and one for the population."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, final

from lamarck._errors import SettingsError, first_line, require
from lamarck.history import History
from lamarck.observers.account import Account, Point, copies_of
from lamarck.observers.scalars import member_name
from lamarck.observers.tracker import Session, Tracker, told
from lamarck.observers.wandb_files import history_of, records_of

__all__ = ["WandbObserver"]

logger = logging.getLogger("lamarck")

_POPULATION = "population"
_QUIET = {
    "console": "off",
    "silent": True,
    "save_code": False,
    "x_disable_stats": True,
    "init_timeout": 20.0,
    "finish_timeout_raises": True,
}
"""A run of W&B takes over what a program prints, measures the machine and copies the program, unless it is told not to: not for each member."""

_BARE = {"disable_git": True, "x_disable_machine_info": True, "x_disable_meta": True, "x_save_requirements": False}
"""What is said of a program and its machine is said once, of the population."""

_WRITTEN = 10.0
"""Seconds within which W&B has written a run that is finished."""


@final
class WandbObserver(Tracker):
    """Tells Weights & Biases, or writes offline what ``wandb sync`` sends later.

    A population is a group. Each member is a run in it, ``member-003``, with ``value``, ``generation``, ``hparams/<name>``,
    ``metrics/<name>``, and ``copied_from`` where it went on from another member's weights, over the ``step`` that it reported. Its
    configuration is, at the end, the hyperparameters that it ended with. One more run, ``population``, has the settings and the ``best``
    value over time, and at the end an artifact with ``schedule.json``, what the best weights have followed, and ``copies.json``, who took
    over whose weights.

    Training never waits: a thread hands over what was reported, and W&B's own process sends it. A resumed run goes on with the same runs of
    W&B, which it finds in W&B's folder, and what they lack is sent; a new run never mixes with a former one. All runs of a population are
    open at the same time, which a program's own ``wandb.init`` does not notice.

    Args:
        project: Name of the project.
        name: What to call the group; by default the training function.
        entity: User or team; by default what W&B uses by itself.
        folder: Where W&B puts its folder; by default here, or ``WANDB_DIR``.
        mode: ``"online"``, ``"offline"`` or ``"disabled"``; by default what W&B uses by itself: ``WANDB_MODE``, or online.
        **settings: See `lamarck.observers.tracker.Tracker`: ``patience=30.0``, seconds to wait at the end for W&B to take everything.

    Raises:
        MissingExtra: If wandb is not installed.
        SettingsError: If the project has no name, the mode is another, or W&B has no key to log in with.

    Example:
        >>> from pathlib import Path
        >>> import lamarck as lk
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(0.5)
        >>> tracker = WandbObserver("digits", mode="offline", patience=None)
        >>> history = lk.run(train, lk.Space(n=lk.Int(1, 2)), population_size=2, interval=5, generations=1, observers=[tracker])
        >>> len([*Path("wandb").glob("offline-run-*")])
        3
    """

    def __init__(
        self,
        project: str,
        *,
        name: str | None = None,
        entity: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(project, str) or not project.strip():
            raise SettingsError(f"project: got {project!r}; it must be a name, e.g. 'digits'")
        if mode not in (None, "online", "offline", "disabled"):
            raise SettingsError(f"mode: got {mode!r}; it must be 'online', 'offline' or 'disabled'")
        super().__init__(service="Weights & Biases", cure=f"`lamarck export JOURNAL --wandb {shlex.quote(project)}`", **settings)
        self.wandb = require("wandb", "wandb", "WandbObserver")
        own = require("wandb.sdk.wandb_setup", "wandb", "WandbObserver").singleton().settings
        self.project, self.name, self.entity, self.mode = project, name, entity, mode or own.mode
        # Whole, because W&B's process may have been started in another folder.
        self.root = Path(folder if folder is not None else os.environ.get("WANDB_DIR", ".")).absolute()
        if self.mode == "online":
            self._log_in(own.base_url)

    @property
    def kept(self) -> Path:
        """W&B's folder."""
        return Path(self.wandb.Settings(root_dir=str(self.root)).wandb_dir)

    def _log_in(self, host: str) -> None:
        """Logs in: here, where somebody may be asked for a key. A server that is away now may be there when something is to be sent."""
        try:
            self.wandb.login(host=host)
        except self.wandb.errors.UsageError as error:
            raise SettingsError(f"Weights & Biases: {first_line(error)} Or set WANDB_API_KEY, or give mode='offline'") from None
        except self.wandb.errors.Error as error:
            logger.warning("%s: %s; nothing waits for it, and logging in is tried again", self.service, told(error))

    def open(self, account: Account) -> Session:
        """Begins a group of runs, or finds it again."""
        return _Session(self, account)


@final
class _Session(Session):
    """A population at W&B.

    Attributes:
        begin: What the names of all its runs begin with: the mark of the run, and a number of its own.
        runs: Those that are open, by member; of the population itself by `_POPULATION`.
    """

    def __init__(self, tracker: WandbObserver, account: Account) -> None:
        self._tracker, self._account = tracker, account
        self.runs: dict[int | str, Any] = {}
        self.begin = "" if account.fresh else self._found()
        self.begin = self.begin or f"{account.mark}-{secrets.token_hex(4)}"
        run = self._run(_POPULATION, account.settings)
        self._improvements = self._next(_POPULATION, run)

    def known(self, member: int) -> int:
        return self._next(member, self._run(member, {"member": member}))

    def improvements(self) -> int:
        return self._improvements

    def report(self, member: int, points: Sequence[Point]) -> None:
        run = self._run(member, {"member": member})
        for point in points:
            words = {f"hparams/{name}": value for name, value in point.record.hparams.items() if isinstance(value, str)}
            row = {**point.scalars, **words, "step": point.record.step, "_timestamp": point.at}
            run.log(row, step=point.record.generation, commit=True)  # W&B's own steps only ever grow, and those of a member may go back

    def improve(self, first: int, points: Sequence[Point]) -> None:
        run = self._run(_POPULATION, {})
        for place, point in enumerate(points, start=first):
            record = point.record
            row = {"best": record.value, "best_member": record.member, "step": record.step, "_timestamp": point.at}
            run.log(row, step=place, commit=True)
        self._improvements = first + len(points)

    def finish(self, history: History) -> None:
        for member in range(history.settings.population_size):
            if records := history.member(member):
                run = self._run(member, {"member": member})
                run.config.update(dict(records[-1].hparams), allow_val_change=True)
        run = self._run(_POPULATION, {})
        artifact = self._tracker.wandb.Artifact(f"{self.begin}-population", type="population", description=str(history))
        if any(record.finite for record in history.records):
            best = history.best
            run.summary.update({"best": best.value, "best_member": best.member, "step": best.step})
            with artifact.new_file("schedule.json") as file:
                file.write(history.schedule().to_text("json"))
        with artifact.new_file("copies.json") as file:
            json.dump(copies_of(history), file)
        run.log_artifact(artifact)
        self._close(failed=history.ended == "lost")

    def leave(self) -> None:
        self._close(failed=True)

    def _close(self, *, failed: bool) -> None:
        files = [Path(run.settings.sync_file) for run in self.runs.values() if run.offline]
        while self.runs:
            _, run = self.runs.popitem()
            run.finish(exit_code=int(failed))
        end = time.monotonic() + _WRITTEN
        for file in files:  # W&B's own process writes the last of them a moment later, and whoever goes on looks at what is there
            while not any(record.HasField("exit") for record in records_of(file)):
                if time.monotonic() > end:
                    raise TimeoutError(f"{file} is not complete")
                time.sleep(0.01)

    def _run(self, name: int | str, config: dict[str, Any]) -> Any:
        """An open run: of a member, or of the population."""
        if name not in self.runs:
            tracker = self._tracker
            self.runs[name] = tracker.wandb.init(
                project=tracker.project,
                entity=tracker.entity,
                group=f"{tracker.name or self._account.title} {self.begin[-8:]}",
                job_type="member" if isinstance(name, int) else name,
                name=_shown(name),
                id=self._id(name),
                dir=str(tracker.root),
                mode=tracker.mode,
                config=config,
                resume="allow",
                reinit="create_new",
                settings=tracker.wandb.Settings(**_QUIET, **({} if name == _POPULATION else _BARE), finish_timeout=tracker.patience or 0.0),
            )
            self.runs[name].define_metric("*", step_metric="step")
        return self.runs[name]

    def _id(self, name: int | str) -> str:
        return f"{self.begin}-{_shown(name)}"

    def _next(self, name: int | str, run: Any) -> int:
        """How many rows are there: as the server says, or, where there is none, as the files say."""
        if not run.offline:
            return int(run.starting_step)
        return max((int(row["_step"]) for path in self._files(self.begin, name) for row in history_of(path)), default=-1) + 1

    def _files(self, begin: str, name: int | str) -> list[Path]:
        """The files of a run, one for each time it was begun or gone on with."""
        return sorted(self._tracker.kept.glob(f"*run-*/run-{begin}-{_shown(name)}.wandb"))

    def _found(self) -> str:
        """The newest group that was begun in the same way and knows nothing else of the run."""
        ending = f"-{_POPULATION}"
        paths = self._tracker.kept.glob(f"*run-*/run-{self._account.mark}-*{ending}.wandb")
        newest = sorted(paths, key=lambda path: path.parent.name.partition("run-")[2], reverse=True)
        members = range(self._account.started.settings.population_size)
        for begin in dict.fromkeys(path.stem.removeprefix("run-").removesuffix(ending) for path in newest):
            if all(self._account.agrees(member, self._values(begin, member)) for member in members):
                return begin
        return ""

    def _values(self, begin: str, member: int) -> dict[int, float]:
        rows = (row for path in self._files(begin, member) for row in history_of(path))
        return {int(row["_step"]): float(row["value"].strip('"')) for row in rows if "value" in row}


def _shown(name: int | str) -> str:
    return member_name(name) if isinstance(name, int) else name
