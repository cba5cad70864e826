"""A PyTorch data loader of which an epoch can begin in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, final

from lamarck._errors import require

__all__ = ["Batches"]

_KEPT = (
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
)


@final
class Batches:
    """The batches of a loader, epoch after epoch, of which the next may begin at any batch.

    What is skipped of a ``DataLoader`` with an index is not read. The order of an epoch that was broken off is kept where it comes from a
    generator of the loader's own.

    Args:
        loader: A ``DataLoader``, or any iterable that begins anew with each ``iter()``.

    Attributes:
        done: Batches of this epoch that have been used; whoever uses them says so before `state_dict`.

    Example:
        >>> batches = Batches([10, 20, 30])
        >>> batches.load_state_dict({"done": 2, "order": None})
        >>> list(batches), list(batches)
        ([30], [10, 20, 30])
    """

    def __init__(self, loader: Any) -> None:
        self.loader, self.done = loader, 0
        self.sampler, self.batch_sampler = getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)
        self._generator = getattr(loader, "generator", None)
        self._order: Any = None

    def __len__(self) -> int:
        """Batches of a whole epoch; a loader without a length raises its own error."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Begins when the first batch is asked for, and not before: some only try whether this can be iterated."""
        skipped, self.done = self.done, 0
        if self._generator is not None:
            self._order = self._generator.get_state()
        yield from self._rest(skipped) if skipped else self.loader

    def state_dict(self) -> dict[str, Any]:
        """Returns where the epoch is. One that is complete is the beginning of the next."""
        try:
            complete = self.done >= len(self.loader)
        except TypeError:
            complete = False
        if not complete and self.done:
            return {"done": self.done, "order": self._order}
        return {"done": 0, "order": None if self._generator is None else self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Lets the next epoch begin there.

        Args:
            state: What `state_dict` returned.
        """
        self.done = state["done"]
        if self._generator is not None and state["order"] is not None:
            self._generator.set_state(state["order"])

    def _rest(self, skipped: int) -> Iterator[Any]:
        data = require("torch.utils.data", "torch", "lamarck.integrations")
        if type(self.loader) is not data.DataLoader or self.batch_sampler is None or isinstance(self.loader.dataset, data.IterableDataset):
            return islice(iter(self.loader), skipped, None)
        kept = {name: getattr(self.loader, name) for name in _KEPT}
        return iter(data.DataLoader(self.loader.dataset, batch_sampler=_Rest(self.batch_sampler, skipped), **kept))


@final
class _Rest:
    """The batches of a sampler after so many."""

    def __init__(self, sampler: Any, skipped: int) -> None:
        self.sampler, self.skipped = sampler, skipped

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.sampler), self.skipped, None)

    def __len__(self) -> int:
        return len(self.sampler) - self.skipped
