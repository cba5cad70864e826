"""Options that commands have in common: who trains, what is written beside the journal, and which services are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, final

from cyclopts import Group, Parameter

from lamarck._errors import SettingsError
from lamarck.engines import Engine, inline

if TYPE_CHECKING:
    from lamarck.coordinator import Observer

__all__ = ["NO_FILES", "NO_TRACKERS", "NO_WORKERS", "Files", "Trackers", "Workers"]

_NONE = "none"

_ON_RAY_ALONE = ("cpus_per_worker", "gpus_per_worker")
_ON_RAY = ("workers", "time_limit", *_ON_RAY_ALONE)

_Options = TypeVar("_Options", "Workers", "Files", "Trackers")


@final
@Parameter(name="*", group=Group("Workers", sort_key=10))
@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who trains.

    Without any of these this process trains all members in turn; ``--engine vectorised`` trains them as one program, ``--engine ray`` on a
    cluster, and everything else means processes.

    Example:
        >>> Workers(workers=2, gpus="0,1").kept
        {'workers': 2, 'gpus': '0,1', 'engine': 'processes'}
    """

    engine: Annotated[
        Literal["inline", "processes", "ray", "vectorised"] | None,
        Parameter(
            help="inline: this process, one member after the other. processes: also if any of the following is given. "
            "ray: the Ray cluster that RAY_ADDRESS names, or one on this machine. "
            "vectorised: all members as one program, which takes a VectorTask; --workers splits it over processes."
        ),
    ] = None
    workers: Annotated[
        int | None, Parameter(help="Worker processes. By default one for each core, or for each share of a GPU; on Ray what there is room for.")
    ] = None
    gpus: Annotated[str | None, Parameter(help="GPUs to spread them over, as in 0,1; none for none.")] = None
    per_gpu: Annotated[int | None, Parameter(help="Workers that share a GPU. By default 1.")] = None
    threads: Annotated[int | None, Parameter(help="Threads of numerical libraries in each worker. By default the cores divided.")] = None
    time_limit: Annotated[
        float | None, Parameter(help="Seconds after which an interval counts as hung and is trained again elsewhere. By default never.")
    ] = None

    cpus_per_worker: Annotated[
        float | None, Parameter(help="With --engine ray: cores that each worker asks the cluster for. By default 1.")
    ] = None
    gpus_per_worker: Annotated[
        float | None, Parameter(help="With --engine ray: GPUs that each worker asks for, or a share, as 0.5. By default none.")
    ] = None
    overlap: Annotated[
        bool | None, Parameter(help="Flush checkpoints to the disk beside the next interval (default), or --no-overlap before a report counts.")
    ] = None

    @property
    def kept(self) -> dict[str, Any]:
        """What the journal keeps: what was given, or nothing for this process alone."""
        given = _given(self)
        return given | {"engine": self.engine or "processes"} if given and self.engine != "inline" else {}

    def after(self, info: Mapping[str, Any]) -> Self:
        """Returns these options, and for what was not given those that a journal has kept."""
        return self if self.engine == "inline" else _after(self, info.get("workers"))

    def make(self) -> Engine:
        """Returns the engine.

        Raises:
            SettingsError: If options do not go together, or a number is out of its range.
        """
        settings = {name: value for name, value in _given(self).items() if name != "engine"}
        if self.engine == "inline" and settings:
            raise SettingsError(f"{_option(next(iter(settings)))} is for processes, and --engine inline trains without; leave one of them out")
        if not self.kept:
            return inline
        if self.engine == "vectorised":
            if others := [name for name in settings if name != "workers"]:
                raise SettingsError(f"{_option(others[0])} is for processes that train one member each; leave it out with --engine vectorised")
            from lamarck.engines.vectorised import Vectorised

            return Vectorised(processes=self.workers)
        if self.engine == "ray":
            if others := [name for name in settings if name not in _ON_RAY]:
                raise SettingsError(
                    f"{_option(others[0])} is for processes on this machine; with --engine ray say --cpus-per-worker and --gpus-per-worker"
                )
            from lamarck.engines.ray import Ray

            return Ray(**settings)
        if others := [name for name in settings if name in _ON_RAY_ALONE]:
            raise SettingsError(
                f"{_option(others[0])} is for a cluster: add --engine ray, or say --gpus, --per-gpu and --threads for this machine"
            )
        gpus = _gpus(settings.pop("gpus", _NONE))
        if "per_gpu" in settings and not gpus:
            raise SettingsError("--per-gpu says how many workers share a GPU; say which GPUs as well: --gpus 0,1")
        from lamarck.engines.processes import Processes

        return Processes(gpus=gpus, **settings)


@final
@Parameter(name="*", group=Group("Files", sort_key=11))
@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What is written beside the journal, after each report.

    Example:
        >>> from pathlib import Path
        >>> Files(csv=Path("run.csv")).kept
        {'csv': 'run.csv'}
    """

    csv: Annotated[Path | None, Parameter(help="CSV file with a line for each report.")] = None
    jsonl: Annotated[Path | None, Parameter(help="JSON lines, an object for each report, with samples and metrics.")] = None
    tensorboard: Annotated[Path | None, Parameter(help="Folder for TensorBoard: a curve for each member.")] = None

    @property
    def kept(self) -> dict[str, str]:
        """What the journal keeps."""
        return {name: str(path) for name, path in _given(self).items()}

    def after(self, info: Mapping[str, Any], begun: Path) -> Self:
        """Returns these files, and for what was not given those that a journal has kept.

        Args:
            info: What the journal has kept.
            begun: Folder that its paths start from.
        """
        kept = info.get("files")
        return _after(self, {name: begun / path for name, path in kept.items()} if isinstance(kept, dict) else None)

    def observers(self) -> Iterator[Observer]:
        """Yields who writes them.

        Raises:
            SettingsError: If a path cannot be.
            MissingExtra: If TensorBoard is not installed.
        """
        from lamarck.observers.table import CsvObserver, JsonlObserver
        from lamarck.observers.tensorboard import TensorBoardObserver

        kinds: dict[str, Callable[[Path], Observer]] = {"csv": CsvObserver, "jsonl": JsonlObserver, "tensorboard": TensorBoardObserver}
        for name, path in _given(self).items():
            try:
                yield kinds[name](path)
            except SettingsError as error:
                raise SettingsError(f"{_option(name)}: {str(error).partition(': ')[2]}") from None


@final
@Parameter(name="*", group=Group("Trackers", sort_key=12))
@dataclass(frozen=True, slots=True, kw_only=True)
class Trackers:
    """Services that are told of each report. Where they are and who logs in is said as for every other program that tells them.

    Example:
        >>> Trackers(mlflow="digits").kept
        {'mlflow': 'digits'}
    """

    mlflow: Annotated[str | None, Parameter(help="Experiment of MLflow, at MLFLOW_TRACKING_URI or in a file mlflow.db here.")] = None
    wandb: Annotated[str | None, Parameter(help="Project of Weights & Biases; with WANDB_MODE=offline in a folder wandb here.")] = None

    @property
    def kept(self) -> dict[str, str]:
        """What the journal keeps."""
        return _given(self)

    def after(self, info: Mapping[str, Any]) -> Self:
        """Returns these services, and for what was not given those that a journal has kept."""
        return _after(self, info.get("trackers"))

    def observers(self, **settings: Any) -> Iterator[Observer]:
        """Yields who tells them.

        Args:
            **settings: See `lamarck.observers.tracker.Tracker`.

        Raises:
            SettingsError: If a service cannot be told as things are.
            MissingExtra: If its client is not installed.
        """
        if self.mlflow is not None:
            from lamarck.observers.mlflow import MlflowObserver

            yield MlflowObserver(self.mlflow, **settings)
        if self.wandb is not None:
            from lamarck.observers.wandb import WandbObserver

            yield WandbObserver(self.wandb, **settings)


NO_WORKERS = Workers()
"""Nothing is said about who trains."""

NO_FILES = Files()
"""Nothing is written beside the journal."""

NO_TRACKERS = Trackers()
"""No service is told."""


def _given(options: Workers | Files | Trackers) -> dict[str, Any]:
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {name: value for name, value in values.items() if value is not None}


def _after(options: _Options, kept: object) -> _Options:
    """Options, and what is missing in them as it was kept; what another version or another program has kept is left out."""
    names = {field.name for field in fields(options)} - _given(options).keys()
    return replace(options, **{name: value for name, value in kept.items() if name in names}) if isinstance(kept, dict) else options


def _gpus(text: str) -> tuple[str, ...]:
    """Names of devices.

    Example:
        >>> _gpus("0, 1"), _gpus("none")
        (('0', '1'), ())
    """
    names = () if text.strip() == _NONE else tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise SettingsError(f"--gpus: got {text!r}; name devices with commas between them, as in 0,1, or say none")
    return names


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
