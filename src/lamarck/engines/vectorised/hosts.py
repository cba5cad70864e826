"""Where stacks live: in this process, or in processes of one thread each.

On a CPU, splitting a population over single-threaded processes is faster than one process with many threads: the tensors of a small network are
too small to be shared out.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, final

from lamarck._errors import LamarckError, SettingsError, TrainingError
from lamarck.checkpoints.tree import flatten, unflatten
from lamarck.engines._start import die_with_parent, fork_server, limit_threads
from lamarck.engines.vectorised.mail import Letter, Mail, nameless
from lamarck.engines.vectorised.stack import Answer, Host, Layout, Saved, here
from lamarck.engines.vectorised.task import VectorTask

__all__ = ["WorkerDied", "hosted"]


class WorkerDied(RuntimeError):
    """A process with a part of the population is gone."""


@contextmanager
def hosted(task: VectorTask[Any], size: int, processes: int | None, members_per_chunk: int | None) -> Iterator[Sequence[Host]]:
    """Provides stacks for a population.

    Args:
        task: The task.
        size: Number of members.
        processes: Processes to split it over; ``None`` for what the task says.
        members_per_chunk: The most members in a stack; ``None`` for what the task says.

    Raises:
        SettingsError: If several processes are asked for, and the task cannot be sent to them.
    """
    many = min(size, processes or task.processes(size))
    pickled = None if many == 1 else _pickled(task, strict=processes is not None)
    many = 1 if pickled is None else many
    each = -(-size // many)
    chunks = many * -(-each // (members_per_chunk or task.members_per_chunk(each)))
    if pickled is None:
        yield [here(task) for _ in range(chunks)]
        return
    file = nameless()
    children = [_Process(pickled, chunks // many, Mail(file, 2 * i), Mail(file, 2 * i + 1)) for i in range(many)]
    try:
        yield [child.stack(i) for child in children for i in range(chunks // many)]
    finally:
        for child in children:
            child.end()
        os.close(file)


def _pickled(task: VectorTask[Any], *, strict: bool) -> bytes | None:
    try:
        return pickle.dumps(task)
    except Exception as error:
        if not strict:
            return None
        raise SettingsError(
            f"processes cannot be given {task!r} ({error}): build it from functions and classes at the top level of a module, or "
            "take processes=1"
        ) from None


@final
class _Process:
    """A process with some stacks. It starts when it is first asked for something, and again if it has died."""

    def __init__(self, task: bytes, stacks: int, ours: Mail, theirs: Mail) -> None:
        self._task, self._stacks = task, stacks
        self._ours, self._theirs = ours, theirs
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._asked: deque[_Pending] = deque()

    def stack(self, number: int) -> Host:
        def host(verb: str, argument: Any) -> Answer:
            pending, idle = _Pending(), not self._asked
            try:
                self._running().send((number, verb, _packed(argument, partial(self._ours.write, again=idle)), idle))
            except ConnectionError:
                return self._died
            self._asked.append(pending)
            return lambda: self._answer(pending)

        return host

    def end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._pipe = self._process = None

    def _running(self) -> Connection:
        if self._pipe is None:
            context = fork_server("lamarck.engines.vectorised.hosts")
            ours, theirs = context.Pipe()
            arguments = (theirs, self._theirs, self._task, self._stacks)
            process = context.Process(target=_serve, args=arguments, daemon=True)  # type: ignore[attr-defined]
            process.start()
            theirs.close()
            self._pipe, self._process = ours, process  # not before: what a Ctrl-C kept from starting cannot be ended
        return self._pipe

    def _answer(self, wanted: _Pending) -> Any:
        """Reads answers, which come in the order of the questions, until the wanted one is there."""
        while not wanted.answers:
            if self._pipe is None:
                self._died()
            try:
                kind, body = self._pipe.recv()  # type: ignore[union-attr]
            except (EOFError, OSError):
                self._died()
            self._asked.popleft().answers.append((kind, body))
        kind, body = wanted.answers[0]
        if kind == "raised":
            raise body
        return _unpacked(body, self._ours.read)

    def _died(self) -> Any:
        code = None
        if self._process is not None:
            self._process.join(5)
            code = self._process.exitcode
        self._asked.clear()
        self.end()
        reason = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        raise WorkerDied(f"a process with a part of the population died: {reason}")


@final
class _Pending:
    """A question, and the answer when it is there."""

    __slots__ = ("answers",)

    def __init__(self) -> None:
        self.answers: list[tuple[str, Any]] = []


def _serve(pipe: Connection, mail: Mail, task: bytes, stacks: int) -> None:
    """What runs in the process: answers until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    limit_threads(1)
    hosts: list[Host] | None = None
    while True:
        try:
            number, verb, argument, idle = pipe.recv()
        except EOFError:
            os._exit(0)
        try:
            if hosts is None:
                made = pickle.loads(task)  # noqa: S301 - made by our own parent on this machine, a moment ago
                limit_threads(1)
                hosts = [here(made) for _ in range(stacks)]
            said = hosts[number](verb, _unpacked(argument, mail.read))()
            answer = "said", _packed(said, partial(mail.write, again=idle))
        except Exception as error:
            answer = "raised", _portable(error)
        pipe.send(answer)


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note; as plain text, if it cannot be sent."""
    trace = "".join(traceback.format_exception(error))
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - the line before made it
    except Exception:
        copy = (TrainingError if isinstance(error, LamarckError) else RuntimeError)(f"{type(error).__name__}: {error}")
    copy.add_note(trace)
    return copy  # type: ignore[no-any-return]


@final
@dataclass(frozen=True, slots=True)
class _Sent(Saved):
    """A saved form that is passed on unread, from the process that wrote it down to the one that needs it."""

    letter: Letter
    read: Callable[[Letter], Any]

    def open(self) -> Any:
        """Reads it."""
        return unflatten(*self.read(self.letter))


def _packed(value: Any, write: Callable[[Any], Letter]) -> Any:
    """Weights are written down, as plain buffers, because tensors have a way of their own of being pickled; the rest goes as it is."""
    if isinstance(value, Layout):
        brought = [(rows, _packed(saved, write)) for rows, saved in value.brought]
        return "layout", (value.seeds, value.copies, value.fresh, brought)
    if isinstance(value, Saved):
        return "saved", value.letter if isinstance(value, _Sent) else write(flatten(value.open()))
    return "plain", value


def _unpacked(packed: Any, read: Callable[[Letter], Any]) -> Any:
    kind, value = packed
    if kind == "layout":
        seeds, copies, fresh, brought = value
        return Layout(seeds=seeds, copies=copies, fresh=fresh, brought=[(rows, _unpacked(saved, read)) for rows, saved in brought])
    return _Sent(value, read) if kind == "saved" else value
