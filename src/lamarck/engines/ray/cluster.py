"""The cluster: joining or starting it, and how many workers it has room for."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from lamarck._errors import SettingsError, require
from lamarck.engines._machine import cores

__all__ = ["joined", "load_ray", "room", "told"]

Resources = Mapping[str, float]
"""Amounts by name, as Ray calls them: ``{"CPU": 8.0, "GPU": 1.0}``."""


def load_ray() -> Any:
    """Returns Ray.

    Raises:
        MissingExtra: If it is not installed.
    """
    return require("ray", "ray", "Training on a Ray cluster")


@contextmanager
def joined() -> Iterator[bool]:
    """Connects to a cluster for as long as a block lasts, unless the program has done so already.

    Yields:
        Whether the cluster is this machine alone, started here for this one run. Otherwise it is the one that the program has connected to, or
        that ``RAY_ADDRESS`` names.

    Raises:
        SettingsError: If there is no cluster where ``RAY_ADDRESS`` says.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield False
        return
    address = os.environ.get("RAY_ADDRESS")
    before = signal.getsignal(signal.SIGTERM)
    with _environment({} if address else _alone()):
        try:
            if address:
                ray.init(logging_level=logging.WARNING)
            else:
                ray.init(address="local", num_cpus=cores(), include_dashboard=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise SettingsError(
                f"no Ray cluster could be reached at {address!r}, which RAY_ADDRESS names ({error}); start one there, or unset RAY_ADDRESS to "
                "train on this machine alone"
            ) from None
        finally:
            _give_back(before)
        try:
            yield not address
        finally:
            ray.shutdown()


def room(nodes: Sequence[Mapping[str, Any]], asked: Resources) -> int | None:
    """Returns how many workers fit into a cluster in which nothing else runs.

    Args:
        nodes: Its nodes, as ``ray.nodes()`` tells them.
        asked: What each worker asks for.

    Returns:
        How many; ``None`` if they ask for nothing, so that there is no limit.

    Example:
        >>> nodes = [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}]
        >>> room(nodes, {"CPU": 1, "GPU": 0.4}), room(nodes, {"CPU": 16}), room(nodes, {"CPU": 0})
        (4, 0, None)
    """
    wanted = {name: amount for name, amount in asked.items() if amount > 0}
    if not wanted:
        return None
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(min(_times(name, amount, node.get(name, 0.0)) for name, amount in wanted.items()) for node in alive)


def _times(name: str, amount: float, there: float) -> int:
    if name in ("GPU", "TPU") and amount < 1:  # a share is of one device
        return math.floor(1 / amount + 1e-6) * math.floor(there)
    return math.floor(there / amount + 1e-6)


def told(resources: Resources, names: Iterable[str] = ()) -> str:
    """Says how much there is of what.

    Args:
        resources: Amounts by name.
        names: What is asked about; by default all. A cluster has more than anybody asks for.

    Example:
        >>> told({"CPU": 8.0, "GPU": 0.5}), told({"CPU": 8.0, "memory": 1e9}, ["CPU", "GPU"])
        ('CPU 8, GPU 0.5', 'CPU 8, GPU 0')
    """
    return ", ".join(f"{name} {resources.get(name, 0.0):g}" for name in names or resources) or "nothing"


def _alone() -> dict[str, str]:
    """What a cluster of our own needs in its environment: no statistics are sent, and Ray need not keep its secret in the user's home.

    The secret is there because Ray listens on all of a machine's addresses; who does not know it cannot use the cluster.
    """
    given = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": _secret()}
    return {name: value for name, value in given.items() if name not in os.environ}


@cache
def _secret() -> str:
    """The same for all clusters of a process, because Ray remembers it."""
    return secrets.token_hex(32)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)


def _give_back(handler: Any) -> None:
    """Leaves SIGTERM to whom it belonged before: connecting takes it over."""
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
