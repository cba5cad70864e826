"""Supervised learning for the vectorised engine: the user writes a module and a loss, as for one member."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lamarck._checks import check_whole
from lamarck._errors import SettingsError, TrainingError
from lamarck.engines._machine import cores
from lamarck.engines.vectorised.columns import Intervals, Scores
from lamarck.engines.vectorised.task import VectorTask
from lamarck.engines.vectorised.torch.choice import Choice, How
from lamarck.engines.vectorised.torch.data import Sampled
from lamarck.engines.vectorised.torch.exam import Exam
from lamarck.engines.vectorised.torch.judging import Judge
from lamarck.engines.vectorised.torch.loader import Loaded, read
from lamarck.engines.vectorised.torch.memory import fitting
from lamarck.engines.vectorised.torch.optimizers import Rule, rule
from lamarck.engines.vectorised.torch.pace import CLIP, Pace
from lamarck.engines.vectorised.torch.probe import probed
from lamarck.engines.vectorised.torch.program import STEP, Attributes, Loss, Measure, Program
from lamarck.engines.vectorised.torch.streams import restored
from lamarck.engines.vectorised.torch.training import Members, Plan, Ways
from lamarck.envs.noise import keys

__all__ = ["Supervised"]

_BATCH_SIZE = "batch_size"


@final
class Supervised(VectorTask[Members]):
    """Trains copies of a PyTorch module, each with hyperparameters of its own, as one program.

    Where a hyperparameter goes is decided by its name: to the optimizer if it has one of that name (``lr``, ``weight_decay``, ``momentum``,
    ``beta1``, ``beta2``, ``eps``, ``alpha``, and ``clip_grad_norm``); to the batches if it is ``batch_size``; to an attribute of the module if
    ``attributes`` says so; and all of them to the loss, as tensors without dimensions. One that none of them uses is an error. The loss can
    also ask for ``hparams["step"]``: how many steps the member has behind it.

    A member's weights begin from its seed, and its noise and its batches depend on its seed and step alone: it becomes the same, to rounding,
    alone and in any stack.

    Args:
        model: Makes the module, with its initial weights; called once for each member.
        loss: ``loss(model, batch, hparams)``: what training lessens; one number, or one for each sample.
        train: Tensors with the samples along the first axis, usually ``(inputs, targets)``, on the device to train on; or a
            ``torch.utils.data.DataLoader``, of whose batches each step takes the next, epoch after epoch, the same for all members.
        test: Samples to judge members by: tensors, or a loader, which is read once and kept.
        evaluate: ``evaluate(model, batch, hparams)``: what members are judged by; by default the loss. It is given all samples of ``test`` in
            one batch. If it returns one number, that is the value; if one for each sample, their mean, and the samples may then come in
            several batches, should they not fit in memory. A dictionary says several things: members are judged by the first, and all are
            kept as metrics. The module is in evaluation mode.
        optimizer: ``"sgd"``, ``"adam"``, ``"adamw"``, ``"rmsprop"`` or ``"lion"``.
        optimizer_settings: What is not tuned and differs from the optimizer's defaults, e.g. ``{"momentum": 0.9, "nesterov": True}``.
        clip_grad_norm: The longest that the gradient of all of a member's weights together may be, as for
            `torch.nn.utils.clip_grad_norm_`; by default any length. A hyperparameter of this name has precedence.
        schedule: ``schedule(step)``: a factor of every member's learning rate, as a function of the number of steps behind it, as for
            `torch.optim.lr_scheduler.LambdaLR`; by default 1. A function at the top level of a module can be sent to other processes.
        attributes: Hyperparameters that set attributes of the module, e.g. ``{"dropout": "3.p"}`` or ``{"dropout": ["3.p", "6.p"]}``.
        batch_size: Samples in a batch, if ``train`` is tensors. If it is tuned, this is the most it can be.
        shared_batches: Whether all members see the same batches, which makes the first layer cheaper; by default each has an order of its own.
        how: ``"auto"`` measures which way is the fastest: ``"batched"``, ``"compiled"`` (batched, by ``torch.compile``), or ``"looped"`` (one
            member after the other, which works for every module).
        cuda_graphs: Whether steps may be recorded as CUDA graphs, on a GPU, where that is measured to be faster.
        device: Where members live, if ``train`` is a loader; by default where ``test`` is. Tensors say it themselves.

    Raises:
        SettingsError: If an argument is not allowed; the message says what is.

    Example:
        >>> from torch import nn
        >>> import torch
        >>> import lamarck as lk
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> def loss(model, batch, hparams):
        ...     return torch.nn.functional.mse_loss(model(batch[0]), batch[1])
        >>> task = Supervised(lambda: nn.Linear(1, 1), loss, train=(x, 3 * x), test=(x, 3 * x), optimizer="sgd", batch_size=16)
        >>> space = lk.Space(lr=lk.Float(1e-3, 1.0, log=True))
        >>> history = lk.run(task, space, population_size=16, interval=10, steps=40, mode="min", engine=lk.Vectorised())
        >>> history.best.value < 1e-3
        True
    """

    def __init__(
        self,
        model: Callable[[], nn.Module],
        loss: Loss,
        *,
        train: tuple[Tensor, ...] | Iterable[Any],
        test: tuple[Tensor, ...] | Iterable[Any],
        evaluate: Measure | None = None,
        optimizer: str = "adamw",
        optimizer_settings: Mapping[str, float | bool] | None = None,
        clip_grad_norm: float | None = None,
        schedule: Callable[[int], float] | None = None,
        attributes: Attributes | None = None,
        batch_size: int = 64,
        shared_batches: bool = False,
        how: How = "auto",
        cuda_graphs: bool = True,
        device: torch.device | str | None = None,
    ) -> None:
        if how not in ("auto", "batched", "compiled", "looped"):
            raise SettingsError(f"how: got {how!r}; it must be 'auto', 'batched', 'compiled' or 'looped'")
        check_whole("batch_size", batch_size, 1)
        self.rule: Rule = rule(optimizer, optimizer_settings or {})
        self._pace = Pace(rule=self.rule, clip=clip_grad_norm, schedule=schedule)
        self._test = _tensors("test", test) if isinstance(test, tuple) else _loader("test", test)
        self._batches: Sampled | Loaded
        if isinstance(train, tuple):
            self._batches = Sampled(_tensors("train", train), batch_size, shared=shared_batches)
            self.device = train[0].device
        else:
            near = self._test[0].device if isinstance(self._test, tuple) else torch.device("cpu")
            self.device = near if device is None else torch.device(device)
            self._batches = Loaded(_loader("train", train), self.device)
        self.how: How = how
        self._graphs = cuda_graphs
        self._model, self._loss, self._evaluate, self._attributes = model, loss, evaluate or loss, attributes or {}
        self._program: Program | None = None
        self._choice: Choice | None = None
        self._probed = False
        self._steps: int | None = None
        self._exam: Exam | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_program": None, "_choice": None, "_exam": None, "_probed": False}  # what is compiled stays in its process

    @property
    def program(self) -> Program:
        """What a member computes."""
        if self._program is None:
            self._program = Program(self._model, self._loss, self._attributes)
            self._program.module.to(self.device)
        return self._program

    @property
    def choice(self) -> Choice:
        """What is known about which way is the fastest."""
        if self._choice is None:
            self._choice = Choice(Ways(self.program, self.rule), self.how, self.device, self._steps, graphs=self._graphs)
        return self._choice

    @property
    def exam(self) -> Exam:
        """What says how good members are."""
        if self._exam is None:
            test = self._test if isinstance(self._test, tuple) else read("test", self._test, self.device)
            self._exam = Exam(Judge(self.program, self._evaluate, singly=self.how == "looped"), test)
        return self._exam

    # ---- the verbs of a vector task ----------------------------------------------------------------------------------------------------------

    def init(self, seeds: NDArray[np.int64]) -> Members:
        """Makes modules from seeds; see `VectorTask.init`."""
        made = [self.program.fresh(seed) for seed in seeds.tolist()]
        tensors = {name: torch.stack([member[name] for member in made]).to(self.device) for name in made[0]}
        weights = {name: tensors[name] for name in self.program.trained}
        slots = {slot: {name: torch.zeros_like(weight) for name, weight in weights.items()} for slot in self.rule.slots}
        return Members(weights=weights, fixed={name: tensors[name] for name in self.program.fixed}, slots=slots)

    def fit(self, state: Members, intervals: Intervals) -> Members:
        """Trains in place; see `VectorTask.fit`."""
        first = intervals.start
        if (isinstance(self._batches, Loaded) or self._batches.shared) and len(set(first.tolist())) > 1:
            for start in np.unique(first):  # what is shared is shared by those who stand at the same step
                rows = np.flatnonzero(first == start)
                state = self.scatter(state, rows, self.fit(self.gather(state, rows), intervals.rows(rows)))
            return state
        self.program.module.train()
        with restored(self.device):  # for noise that does not ask `Aids`
            torch.manual_seed(int(intervals.seeds[0]))
            for plan in self._plans(intervals, _dtype(state)):
                if not self._probed:
                    self.rule.check(intervals.hparams)
                    probed(self.program, state, plan, self.how, self._pace.names(), self._reached())
                    self._probed = True
                self.choice.train(state, plan)
        return state

    def evaluate(self, state: Members, intervals: Intervals) -> Scores:
        """Judges all members on the same samples; see `VectorTask.evaluate`."""
        self.program.module.eval()
        dtype = _dtype(state)
        tensors, hparams = state.weights | state.fixed, self._numbers(intervals, dtype)
        steps = torch.from_numpy(intervals.start + intervals.steps).to(self.device, dtype)
        seeds = torch.from_numpy(intervals.seeds).to(self.device)
        said = self.exam(tensors, self._attributes_of(intervals, dtype), hparams, steps, seeds).cpu().numpy()
        return Scores(values=said[:, 0], metrics=dict(zip(self.exam.names, said.T, strict=False)))

    def gather(self, state: Members, rows: NDArray[np.int64]) -> Members:
        """Copies rows on the device; see `VectorTask.gather`."""
        index = torch.from_numpy(rows).to(self.device)
        return state.map(lambda tensor: tensor.index_select(0, index))

    def scatter(self, state: Members, rows: NDArray[np.int64], part: Members) -> Members:
        """Puts rows in, in place and on the device; see `VectorTask.scatter`."""
        index = torch.from_numpy(rows).to(self.device)
        for tensor, source in zip(state.tensors(), part.tensors(), strict=True):
            tensor.index_copy_(0, index, source)
        return state

    def save(self, state: Members) -> Any:
        """Returns ``{"model": ..., "optimizer": ...}``; a row of ``"model"`` loads into the module. See `VectorTask.save`."""
        tensors = state.weights | state.fixed
        model = self.program.state_dict(tensors)
        rest = {name: tensor for name, tensor in tensors.items() if name not in model}
        return {"model": model, "optimizer": dict(state.slots), "unsaved": rest}

    def load(self, saved: Any) -> Members:
        """Puts a stack on the device; see `VectorTask.load`."""
        parts = [saved.get(name, {}) for name in ("model", "unsaved", "optimizer")]
        tensors, slots = parts[0] | parts[1], parts[2]
        self._recognise(tensors, slots)
        tensors = self._on(tensors)
        return Members(
            weights={name: tensors[name] for name in self.program.trained},
            fixed={name: tensors[name] for name in self.program.fixed},
            slots={slot: self._on(slots[slot]) for slot in self.rule.slots},
        )

    def expect(self, steps: int) -> None:
        """Decides by this whether to compile; see `VectorTask.expect`."""
        self._steps, self._choice = steps, None

    def done(self) -> None:
        """Ends the worker processes of a loader; see `VectorTask.done`."""
        if isinstance(self._batches, Loaded):
            self._batches.close()

    def processes(self, members: int) -> int:
        """One for each core on a CPU, if there is enough to share out; see `VectorTask.processes`."""
        if self.device.type != "cpu" or (isinstance(self._batches, Loaded) and self._batches.workers):
            return 1  # each process would start as many workers of its own, to load the same batches
        return max(1, min(cores(), members // 2))

    def members_per_chunk(self, members: int) -> int:
        """What fits in memory; see `VectorTask.members_per_chunk`."""
        state = self.init(np.zeros(1, dtype=np.int64))
        return fitting(self.program, state, self._sample(), members, self.processes(members))

    # ---- what members do ---------------------------------------------------------------------------------------------------------------------

    def _on(self, part: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.device) for name, tensor in part.items()}

    def _sent(self, columns: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        return _moved(columns, self.device, dtype)

    def _recognise(self, tensors: Mapping[str, Tensor], slots: Mapping[str, Any]) -> None:
        """Refuses what another module, or another optimizer, was saved as: a run that is gone on with has to be the same."""
        changed = "the checkpoint is of another task, which has changed since it was saved"
        for name, own in self.program.shapes.items():
            there = tensors.get(name)
            if there is None or (there.shape[1:], there.dtype) != own:
                has = "nothing of that name" if there is None else f"{tuple(there.shape[1:])} of {there.dtype}"
                raise TrainingError(f"{changed}: of {name!r} it has {has}, and the module {tuple(own[0])} of {own[1]}")
        more = sorted(tensors.keys() - self.program.shapes.keys() - set(self.program.saved))
        if more:
            raise TrainingError(f"{changed}: it has {more[0]!r}, and the module does not")
        if set(slots) != set(self.rule.slots):
            raise TrainingError(
                f"{changed}: its optimizer remembers {', '.join(sorted(slots)) or 'nothing'}, and this one {', '.join(sorted(self.rule.slots))}"
            )

    def _sample(self) -> Any:
        if isinstance(self._batches, Loaded):
            return self._batches.sample()
        return tuple(part[: self._batches.size] for part in self._batches.tensors)

    def _plans(self, intervals: Intervals, dtype: torch.dtype) -> Iterator[Plan]:
        """Plans an interval stretch by stretch, so that only the data of one stretch are in memory."""
        otherwise = self._pace.otherwise(tuned=CLIP in intervals.hparams)
        columns = {name: _filled(intervals, name, own) for name, own in otherwise.items()}
        for name in intervals.hparams.keys() & columns.keys():
            self._pace.check(name, columns[name].min(), columns[name].max())
        where = self.device if self.device.type == "cuda" else torch.device("cpu")  # others may know no double precision
        exact = _moved({name: torch.from_numpy(column) for name, column in columns.items()}, where, torch.float64)
        precise = torch.promote_types(dtype, torch.float32)  # of half precision, 0.999 is 1
        count = torch.from_numpy(intervals.start)
        seeds = torch.from_numpy(intervals.seeds).to(where)
        common: dict[str, Any] = {
            "hparams": self._numbers(intervals, dtype),
            "attributes": self._attributes_of(intervals, dtype),
            "numbers": self._sent(exact, precise),
            "mask": self._mask(intervals, dtype),
        }
        for first, stop, data in self._data(intervals):
            ages = count + torch.arange(first + 1, stop + 1)[:, None]
            factors = self._pace.factors(ages)
            ages = ages.to(where)
            scalars = self._pace.scalars(exact, ages, None if factors is None else factors.to(where))
            yield Plan(
                scalars=self._sent(scalars, precise),
                keys=keys(seeds, ages).to(self.device),
                count=count + first,
                steps=(ages - 1).to(self.device, dtype),
                **common,
                **data,
            )

    def _data(self, intervals: Intervals) -> Iterator[tuple[int, int, dict[str, Any]]]:
        if isinstance(self._batches, Loaded):
            return self._batches.plans(int(intervals.start[0]), intervals.steps)
        return self._batches.plans(intervals.start, intervals.seeds, intervals.steps)

    def _numbers(self, intervals: Intervals, dtype: torch.dtype) -> dict[str, Tensor]:
        if STEP in intervals.hparams:
            raise SettingsError(f"{STEP}: by this name the loss is told the step; give the hyperparameter another one")
        self.program.constants = intervals.constants()
        return self._sent({name: torch.from_numpy(column.astype(np.float64)) for name, column in intervals.numbers().items()}, dtype)

    def _attributes_of(self, intervals: Intervals, dtype: torch.dtype) -> dict[str, Tensor]:
        """What each attribute of the module is for each member: what the module says itself, where the hyperparameter is not active."""
        columns = {path: _filled(intervals, name, own) for path, (name, own) in self.program.attributes.items() if name in intervals.hparams}
        for path in self.program.chances & columns.keys():
            low, high = columns[path].min(), columns[path].max()
            if not 0 <= low <= high <= 1:
                name = self.program.attributes[path][0]
                raise SettingsError(f"{name}: got {low:g} to {high:g} as hyperparameters for {path!r}; a probability is between 0 and 1")
        return self._sent({path: torch.from_numpy(column) for path, column in columns.items()}, dtype)

    def _mask(self, intervals: Intervals, dtype: torch.dtype) -> Tensor | None:
        if _BATCH_SIZE not in intervals.hparams or isinstance(self._batches, Loaded):
            return None
        sizes = _filled(intervals, _BATCH_SIZE, self._batches.size)
        if not (sizes.min() >= 1 and sizes.max() <= self._batches.size):
            raise SettingsError(
                f"batch_size: got {int(sizes.min())} to {int(sizes.max())} as hyperparameters; they must be between 1 and the task's own "
                f"batch_size and number of samples, which allow {self._batches.size}"
            )
        counted = np.arange(self._batches.size)[None, :] < sizes[:, None]
        return torch.from_numpy(counted).to(self.device, dtype)

    def _reached(self) -> list[str]:
        """The hyperparameters that arrive somewhere else than in the optimizer, whether or not the loss looks at them."""
        return [*self._attributes, *([_BATCH_SIZE] if isinstance(self._batches, Sampled) else [])]


def _moved(columns: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Columns of one shape, by one copy: each waits for whatever a GPU has to do."""
    if not columns:
        return {}
    return dict(zip(columns, torch.stack([*columns.values()]).to(device, dtype).unbind(), strict=True))


def _dtype(members: Members) -> torch.dtype:
    return next(iter(members.weights.values())).dtype


def _filled(intervals: Intervals, name: str, otherwise: float) -> NDArray[np.float64]:
    """A column of hyperparameters, with what holds where it is not tuned, or a conditional one not active."""
    column = intervals.hparams.get(name)
    if column is not None and column.dtype == object:
        raise SettingsError(f"{name}: got {column[0]!r}; it must be a number")
    given = np.full(len(intervals), np.nan) if column is None else column.astype(np.float64)
    return np.where(np.isnan(given), otherwise, given)


def _loader(name: str, given: Any) -> Iterable[Any]:
    if isinstance(given, Tensor | list) or not hasattr(given, "__iter__"):
        raise SettingsError(f"{name}: got {type(given).__name__}; it must be a tuple of tensors, e.g. (x, y), or a DataLoader")
    return given  # type: ignore[no-any-return]


def _tensors(name: str, given: tuple[Any, ...]) -> tuple[Tensor, ...]:
    if not given or not all(isinstance(part, Tensor) and part.ndim for part in given):
        kinds = ", ".join("a number" if isinstance(part, Tensor) and not part.ndim else type(part).__name__ for part in given)
        raise SettingsError(
            f"{name}: got a tuple of {kinds or 'nothing'}; it must be one of tensors with the samples along the first axis, e.g. (x, y), which "
            "torch.as_tensor makes of arrays and lists"
        )
    if len({len(part) for part in given}) > 1 or not len(given[0]):
        raise SettingsError(
            f"{name}: got tensors of {', '.join(str(len(part)) for part in given)} samples; all must have the same number, at least 1"
        )
    return given
