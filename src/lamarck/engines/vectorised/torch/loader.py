"""Batches out of a loader: one endless row of them, in which the batch of a step is a function of the step.

A `torch.utils.data.DataLoader` draws its order, and what its data set draws for augmentation, from whatever generators stand where they stand
at the time. Here they are seeded before each batch, in the process that loads it, by the number of the epoch and of the batch in it, and the
caller's generators are put back afterwards. So a batch is the same in every process, with any number of workers, and after a resume.

To find a place, the sampler of a loader is gone through without loading anything. What has no sampler (an iterable data set, any other
iterable) has to be read up to there.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, final

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lamarck._errors import SettingsError
from lamarck._rng import derive_seed
from lamarck.engines.vectorised.torch.batch import mapped, tensors_in
from lamarck.engines.vectorised.torch.memory import free

__all__ = ["Loaded", "read"]

_BYTES = 32 << 20
"""Batches of so many bytes are held at once, or `_LEAST` of them."""
_MOST, _LEAST = 64, 4
_OPEN = 4
"""Places that are kept open at most: chunks of a population take turns, and each goes on where it was."""
_END = object()


@final
class Loaded:
    """Batches out of a `DataLoader`, or of anything that can be iterated over again and again; the same for all members.

    Args:
        loader: Yields tensors, or tuples, lists and dictionaries of them.
        device: Where the tensors go.
    """

    def __init__(self, loader: Iterable[Any], device: torch.device) -> None:
        self.workers: int = getattr(loader, "num_workers", 0)
        self._row, self._device = _Row(loader), device
        self._open: list[tuple[int, Iterator[Any]]] = []

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": []}

    def plans(self, start: int, steps: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Yields stretches of steps that follow each other: first, last but one, and what a `Plan` says of their data.

        Args:
            start: Step of the run at which all members stand.
            steps: How many in all.
        """
        stream, first = self._taken(start), 0
        while first < steps:
            with _put_back():
                batches = [self._placed(next(stream))]
                size = _bytes(batches[0])
                most = max(_LEAST, min(_MOST, 1 << max(1, _BYTES // max(1, size)).bit_length() - 1))
                batches += [self._placed(next(stream)) for _ in range(min(most, steps - first) - 1)]
            yield first, first + len(batches), {"batches": tuple(batches), "shared": True}
            first += len(batches)
        self._open = [*self._open[1 - _OPEN :], (start + steps, stream)]

    def sample(self) -> Any:
        """Returns the first batch."""
        with _put_back():
            return self._placed(next(self._row.batches(0)))

    def close(self) -> None:
        """Forgets the open places, which ends the worker processes that belong to them."""
        self._open.clear()

    def _taken(self, start: int) -> Iterator[Any]:
        for index, (step, stream) in enumerate(self._open):
            if step == start:
                del self._open[index]
                return stream
        return self._row.batches(start)

    def _placed(self, batch: Any) -> Any:
        return _placed("train", batch, self._device)


@final
class _Row:
    """The endless row of batches."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self._loader = loader
        self._generators = _generators(_parts(loader))
        self._seed = self._generators[0].initial_seed() if self._generators else 0
        self._length: int | None = None

    def batches(self, start: int) -> Iterator[Any]:
        """Yields batches without end, beginning at a step. Leaves the global generators changed."""
        loader = self._loader
        if not isinstance(loader, DataLoader):
            yield from (batch for _, batch in self._endless(loader, start))
        elif isinstance(loader.dataset, IterableDataset) or type(loader).__iter__ is not DataLoader.__iter__:
            own = copy.copy(loader)
            vars(own).update(persistent_workers=False, _iterator=None)  # workers that stay remember the epoch before
            yield from (batch for _, batch in self._endless(own, start))
        else:
            batches = loader.batch_sampler
            yield from DataLoader(
                _Keyed(loader.dataset, whole=batches is None),
                batch_sampler=_Once(self._endless(loader.sampler if batches is None else batches, start)),
                num_workers=loader.num_workers,
                collate_fn=loader.collate_fn,
                pin_memory=loader.pin_memory,
                timeout=loader.timeout,
                worker_init_fn=loader.worker_init_fn,
                multiprocessing_context=loader.multiprocessing_context,
                prefetch_factor=loader.prefetch_factor,
            )

    def _endless(self, source: Iterable[Any], start: int) -> Iterator[tuple[int, Any]]:
        """Goes through something again and again; yields what it yields, and the seed for what is random in that."""
        epoch, ahead = divmod(start, self._length) if self._length else (0, start)
        while True:
            items: Iterator[Any] | None = None
            for number in count():
                seed = derive_seed(self._seed, epoch, number)
                _seed(seed, self._generators)
                if items is None:
                    for part in _parts(self._loader):
                        if hasattr(part, "set_epoch"):
                            part.set_epoch(epoch)
                    items = iter(source)
                item = next(items, _END)
                if item is _END:
                    break
                if ahead:
                    ahead -= 1
                else:
                    yield seed, item
            self._check(number)
            epoch += 1 + ahead // number
            ahead %= number

    def _check(self, batches: int) -> None:
        """Learns how long an epoch is: a step could not be found again in epochs of many lengths."""
        if not batches:
            raise SettingsError("train: the loader yields nothing; it must be one that can be iterated over again and again")
        if self._length is None:
            self._length = batches
        if batches != self._length:
            raise SettingsError(
                f"train: the loader yielded {self._length} batches in one epoch, and {batches} in another; give one whose epochs are equally "
                "long, or that never ends"
            )


class _Once:
    """Lets a generator pass for the batch sampler of a loader, which is iterated over once."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return self._items


class _Keyed(Dataset[Any]):
    """A data set whose batches are asked for together with the seed of what is random in them. For the rest, it is the data set."""

    def __init__(self, dataset: Any, *, whole: bool) -> None:
        self.__dict__.update(_dataset=dataset, _whole=whole)

    def __getitems__(self, asked: tuple[int, Any]) -> Any:
        (seed, wanted), dataset = asked, self._dataset
        _seed(derive_seed(seed, 1, 0), _generators([dataset]))  # not what the sampler drew from
        if self._whole:
            return dataset[wanted]
        together = getattr(dataset, "__getitems__", None)
        return together(wanted) if together else [dataset[index] for index in wanted]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_dataset" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._dataset, name, value)


def _parts(loader: Any) -> list[Any]:
    """Whatever in a loader may draw random numbers or want to know the epoch."""
    parts = [loader, *(getattr(loader, name, None) for name in ("sampler", "batch_sampler", "dataset"))]
    return [part for part in (*parts, getattr(parts[2], "sampler", None)) if part is not None]


def _generators(parts: Iterable[Any]) -> list[torch.Generator]:
    found = [getattr(part, "generator", None) for part in parts]
    return list({id(generator): generator for generator in found if isinstance(generator, torch.Generator)}.values())


def _seed(seed: int, generators: Iterable[torch.Generator]) -> None:
    torch.default_generator.manual_seed(seed)
    np.random.seed(derive_seed(seed, 0, 1))  # noqa: NPY002 - what other people's data sets draw from
    random.seed(derive_seed(seed, 0, 2))
    for generator in generators:
        generator.manual_seed(derive_seed(seed, 0, 3))


@contextmanager
def _put_back() -> Iterator[None]:
    """Leaves the global generators of PyTorch, NumPy and Python as they were."""
    torch_state, numpy_state, state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(state)


def read(name: str, loader: Iterable[Any], device: torch.device) -> Any:
    """Returns all that a loader yields as one batch; the same whenever and wherever it is read.

    Args:
        name: What messages call it.
        loader: Yields tensors, or tuples, lists and dictionaries of them, with the samples along the first axis.
        device: Where the tensors go.
    """
    room = free(device)
    batches: list[Any] = []
    with _put_back():
        _seed(0, _generators(_parts(loader)))
        for batch in loader:
            batches.append(_placed(name, batch, device))
            if room is not None and (room := room - 2 * _bytes(batches[-1])) < 0:  # twice, to put them together
                raise SettingsError(f"{name}: after {len(batches)} batches the memory is full; give fewer samples, in a loader that ends")
    if not batches:
        raise SettingsError(f"{name}: the loader yields nothing")
    columns = zip(*map(tensors_in, batches), strict=True)
    try:
        whole = [torch.cat(column) for column in columns]
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"{name}: batches must be alike, with the samples along the first axis of each tensor ({error})") from error
    if len({len(tensor) for tensor in whole}) > 1:
        raise SettingsError(f"{name}: got tensors of {', '.join(str(len(tensor)) for tensor in whole)} samples; all must have the same number")
    parts = iter(whole)
    return mapped(lambda tensor: next(parts), batches[0])


def _placed(name: str, batch: Any, device: torch.device) -> Any:
    if not tensors_in(batch):
        raise SettingsError(
            f"{name}: the loader yielded {batch!r:.80}; a batch must be a tensor, or a tuple, list or dictionary with tensors in it"
        )
    parts = batch if isinstance(batch, tuple | list | Mapping) else (batch,)
    placed = mapped(lambda tensor: tensor.to(device, non_blocking=True), parts)
    return tuple(placed) if isinstance(placed, list) else placed


def _bytes(batch: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors_in(batch))
