"""One process for each core, kept between rounds, each with whatever it has been asked to update before."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

__all__ = ["Pool", "Updates"]


class Updates(Protocol):
    """Something that can be trained for a while."""

    def update(self) -> object:
        """Trains once."""


class Pool:
    """Processes that make updates at the same time.

    Args:
        make: Makes what to update, of a name and for so many members; a function at the top level of a module.
        cores: How many processes.
    """

    def __init__(self, make: Callable[[str, int], Updates], cores: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        for _ in range(cores):
            ours, theirs = context.Pipe()
            context.Process(target=_serve, args=(theirs, make), daemon=True).start()
            self._pipes.append(ours)

    def task(self, name: str, members: int, updates: int, processes: int) -> Callable[[], None]:
        """Returns what makes some processes update at once, with that many members each, and waits for all of them."""

        def run() -> None:
            for pipe in self._pipes[:processes]:
                pipe.send((name, members, updates))
            for pipe in self._pipes[:processes]:
                pipe.recv()

        return run

    def end(self) -> None:
        """Ends the processes."""
        for pipe in self._pipes:
            pipe.send(None)


def _serve(pipe: Connection, make: Callable[[str, int], Updates]) -> None:
    kept: dict[tuple[str, int], Updates] = {}
    while (order := pipe.recv()) is not None:
        name, members, updates = order
        if (name, members) not in kept:
            kept[name, members] = make(name, members)
        for _ in range(updates):
            kept[name, members].update()
        pipe.send(None)
