"""How worker processes begin and end."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection, forkserver, parent_process, resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from lamarck._signals import BATCH, listen

__all__ = [
    "begin",
    "die",
    "die_with_parent",
    "ended",
    "fork_server",
    "heed_the_parent_alone",
    "is_alive",
    "kill",
    "lead",
    "limit_threads",
    "new_process",
]

logger = logging.getLogger("lamarck")

_GRACE = 10.0
"""Seconds that a process may take to end when it is killed."""


def fork_server(module: str, preload: Sequence[str] | None = None) -> BaseContext:
    """Chooses how processes start: from a fork server with the heavy imports done, or afresh where there is none.

    Args:
        module: What runs in the processes.
        preload: What to import once; by default PyTorch if this process has loaded it.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # The first optimizer of a process imports torch._dynamo, which takes longer than the rest of a worker's start.
    torch = ["torch", "torch._dynamo"] if "torch" in sys.modules else []
    context.set_forkserver_preload([module, *(torch if preload is None else preload)])
    resource_tracker.ensure_running()  # which would unblock the signal in what follows
    # A Ctrl-C would end the server while it imports, which takes seconds; later it ignores it. What is blocked here is blocked there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def new_process(context: BaseContext, target: Callable[..., object], args: Sequence[Any], *, name: str) -> BaseProcess:
    """Makes a process that starts others as this one does.

    By itself it would start them as it was started. Then each pass over a PyTorch data loader with workers would import PyTorch anew.

    Args:
        context: How it is started.
        target: What runs in it.
        args: What that is given.
        name: What to call it.
    """
    method = multiprocessing.get_start_method(allow_none=True)
    made: Any = context.Process  # type: ignore[attr-defined]
    begun: BaseProcess = made(target=_as_in_parent, args=(method, target, *args), name=name)
    return begun


def begin(process: BaseProcess) -> None:
    """Starts a process, from a new fork server if the old one is just dying."""
    try:
        process.start()
    except (ConnectionError, EOFError):
        time.sleep(0.2)  # until the system knows it dead; then another is made
        process.start()


def is_alive(process: BaseProcess) -> bool:
    """Returns whether a process lives, also if the fork server that would tell of its end does not."""
    if process.is_alive():  # which takes note of its end, if that is ours to do
        return True
    try:
        os.kill(process.pid, 0)  # type: ignore[arg-type]
    except ProcessLookupError:
        return False
    return True


def _as_in_parent(method: str | None, target: Callable[..., object], *args: Any) -> None:
    multiprocessing.set_start_method(method, force=True)
    target(*args)


def heed_the_parent_alone() -> None:
    """Lets this process train on when it is asked to stop, as all of a job are by a batch system: its parent decides what happens then.

    What this process forks, such as a pool whose processes are ended by SIGTERM, is ended by it as ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listen(BATCH, lambda _: None)


def lead() -> None:
    """Makes this process the first of a group: what it starts, such as the workers of a data loader, ends with it."""
    os.setpgid(0, 0)


def die() -> NoReturn:
    """Ends this process at once, with its group if it leads one."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def kill(process: BaseProcess) -> None:
    """Ends another process at once, with its group if it leads one, and also if it is dead and its group is not."""
    assert process.pid is not None
    with contextlib.suppress(OSError):  # it has not got so far as to lead one
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def ended(process: BaseProcess) -> bool:
    """Ends another process, and waits for its end; one that hangs in a driver or a network's disk does not die, and is not waited for.

    Returns:
        Whether it has ended.
    """
    kill(process)
    process.join(_GRACE)
    if process.exitcode is None:
        logger.warning("process %d cannot be killed: it hangs in a driver or on a disk. Nobody waits for it any more", process.pid)
    return process.exitcode is not None


def die_with_parent() -> None:
    """Ends this process the moment its parent is gone, even in the middle of a long interval."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        die()


def limit_threads(threads: int) -> None:
    """Keeps workers from fighting for cores, also in libraries that are loaded already."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)
