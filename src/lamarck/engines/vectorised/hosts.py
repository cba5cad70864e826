"""Where stacks live: in this process, or in processes of one thread each.

On a CPU, splitting a population over single-threaded processes is faster than one process with many threads: the tensors of a small network are
too small to be shared out.

Such a process may have children, such as the workers of a data loader, and leads a group with them. The group ends with the run, and with this
process, however that ends. What the task is made of is in it once for each process, but for its data, which all of them share.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from selectors import EVENT_READ, DefaultSelector
from typing import Any, final

from lamarck._errors import LamarckError, SettingsError, TrainingError
from lamarck.checkpoints.tree import flatten, unflatten
from lamarck.engines._start import (
    begin,
    die,
    die_with_parent,
    fork_server,
    heed_the_parent_alone,
    kill,
    lead,
    limit_threads,
    new_process,
)
from lamarck.engines.vectorised.columns import Intervals, Scores
from lamarck.engines.vectorised.mail import Letter, Mail, nameless
from lamarck.engines.vectorised.parcel import Parcel, Unsendable
from lamarck.engines.vectorised.stack import Answer, Gone, Host, Layout, Saved, here
from lamarck.engines.vectorised.task import VectorTask

__all__ = ["hosted"]

logger = logging.getLogger("lamarck")

_LARGE = 1000
"""Members from which on the numbers about them go beside the pipe, too: two who fill it at once would wait for each other for ever."""


@contextmanager
def hosted(
    task: VectorTask[Any], size: int, steps: int, processes: int | None = None, members_per_chunk: int | None = None
) -> Iterator[Sequence[Host]]:
    """Provides stacks for a population.

    Args:
        task: The task.
        size: Number of members.
        steps: How many each of them has to go.
        processes: Processes to split it over; ``None`` for what the task says, if it can be sent to them.
        members_per_chunk: The most members in a stack; ``None`` for what the task says.

    Raises:
        SettingsError: If several processes are asked for, and the task cannot be sent to them.
    """
    many = min(size, processes or task.processes(size))
    parcel = None if many == 1 else _parcel(task, many, strict=processes is not None)
    many = 1 if parcel is None else many
    each = -(-size // many)
    stacks = -(-each // (members_per_chunk or task.members_per_chunk(each)))
    task.expect(steps * stacks)
    if parcel is None:
        yield [here(task) for _ in range(stacks)]
        return
    parcel = Parcel.of(task)  # with what it expects by now
    file = nameless()
    letter = Mail(file, 0).write([pickle.PickleBuffer(parcel.pickled), *parcel.data])
    del parcel
    children = [_Process(letter, stacks, Mail(file, 2 * i + 1), Mail(file, 2 * i + 2)) for i in range(many)]
    try:
        yield [child.stack(i) for child in children for i in range(stacks)]
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.end()
        os.close(file)


def _parcel(task: VectorTask[Any], processes: int, *, strict: bool) -> Parcel | None:
    try:
        return Parcel.of(task)
    except Unsendable as error:
        if strict:
            raise SettingsError(
                f"processes: got {processes}, but the task cannot go to another process: {error}, or take processes=1"
            ) from None
        logger.warning(
            "training in this process, not in %d, which would be faster, because the task cannot go to another: %s", processes, error
        )
        return None


@final
class _Process:
    """A process with some stacks. It starts when it is first asked for something, and again if it has died."""

    def __init__(self, task: Letter, stacks: int, ours: Mail, theirs: Mail) -> None:
        self._task, self._stacks = task, stacks
        self._ours, self._theirs = ours, theirs
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._heard, self._heeded = False, DefaultSelector()
        self._asked: deque[_Pending] = deque()

    def stack(self, number: int) -> Host:
        def host(verb: str, argument: Any) -> Answer:
            pending, idle = _Pending(), not self._asked
            if idle:
                self._ours.clear()
            question = number, verb, _packed(argument, self._ours), idle
            try:
                self._running().send(question)
            except ConnectionError:
                self._asked.append(pending)
                self._died()
            else:
                self._asked.append(pending)
            return lambda: self._answer(pending)

        return host

    def kill(self) -> None:
        """Ends the process without waiting for its end."""
        if self._process is not None:
            kill(self._process)

    def end(self) -> None:
        """Ends the process, and waits for it."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            kill(self._process)
            self._process.join()
            self._process.close()
        self._heeded.close()
        self._pipe = self._process = None

    def _running(self) -> Connection:
        if self._pipe is None:
            context = fork_server("lamarck.engines.vectorised.hosts")
            ours, theirs = context.Pipe()
            arguments = (theirs, self._theirs, self._task, self._stacks)
            process = new_process(context, _serve, arguments, name="lamarck-stacks")
            begin(process)
            theirs.close()
            self._pipe, self._process, self._heard = ours, process, False  # not before: what a Ctrl-C kept from starting cannot be ended
            self._heeded = DefaultSelector()
            for end in (ours, process.sentinel):
                self._heeded.register(end, EVENT_READ)
        return self._pipe

    def _answer(self, wanted: _Pending) -> Any:
        """Reads answers, which come in the order of the questions, until the wanted one is there."""
        while not wanted.answers:
            assert self._pipe is not None
            try:
                # The end of the pipe alone may not show: children of a dead process hold it open.
                if self._pipe not in [key.fileobj for key, _ in self._heeded.select()]:
                    raise EOFError
                answer = self._pipe.recv()
            except (EOFError, OSError):
                self._died()
            else:
                self._heard = True
                self._asked.popleft().answers.append(answer)
        kind, body = wanted.answers[0]
        if kind == "raised":
            raise body
        return _unpacked(body, self._ours)

    def _died(self) -> None:
        """Answers all questions by saying that the process is gone."""
        code = None
        if self._process is not None:
            self._process.join(5)
            code = self._process.exitcode
        asked, self._asked = self._asked, deque()
        self.end()
        for pending in asked:
            pending.answers.append(("raised", _ended(code, self._heard)))


def _ended(code: int | None, heard: bool) -> Exception:
    """Says what it means that a process ended."""
    if code is not None and code >= 0 and not heard:  # nothing that would be better another time
        return TrainingError(
            f"a process ended before it could train (exit code {code}); what it wrote above says why. It runs the script first, from its "
            "beginning: put what only this process may do under `if __name__ == '__main__':`, or take processes=1"
        )
    reason = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
    return Gone(f"a process with a part of the population died: {reason}")


@final
class _Pending:
    """A question, and the answer when it is there."""

    __slots__ = ("answers",)

    def __init__(self) -> None:
        self.answers: list[tuple[str, Any]] = []


def _serve(pipe: Connection, mail: Mail, task: Letter, stacks: int) -> None:
    """What runs in the process: answers until nobody asks any more."""
    heed_the_parent_alone()
    lead()
    threading.Thread(target=die_with_parent, daemon=True).start()
    os.environ["NPROC"] = "1"  # how many threads XLA computes with
    limit_threads(1)
    hosts: list[Host] | None = None
    while True:
        try:
            number, verb, argument, idle = pipe.recv()
        except (EOFError, OSError):
            die()
        try:
            if hosts is None:
                made = _opened(mail, task)
                hosts = [here(made) for _ in range(stacks)]
            said = hosts[number](verb, _unpacked(argument, mail))()
            if idle:
                mail.clear()
            answer = "said", _packed(said, mail)
        except Exception as error:
            answer = "raised", _portable(error)
        try:
            pipe.send(answer)
        except ConnectionError:  # nobody is left to hear it
            die()


def _opened(mail: Mail, task: Letter) -> VectorTask[Any]:
    pickled, *data = mail.map(task)
    try:
        made: VectorTask[Any] = Parcel(pickled, data).open()
    except LamarckError:
        raise
    except Exception as error:
        raise TrainingError(
            f"the task cannot be loaded in another process: {type(error).__name__}: {error}; build it from functions and classes at the top "
            "level of a module that can be imported, or take processes=1"
        ) from error
    limit_threads(1)
    return made


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
    mail: Mail

    def open(self) -> Any:
        """Reads it."""
        return unflatten(*self.mail.read(self.letter))


def _packed(value: Any, mail: Mail) -> Any:
    """Weights are written down, as plain buffers, because tensors have a way of their own of being pickled; what is small goes as it is."""
    if isinstance(value, Layout):
        brought = [(rows, _packed(saved, mail)) for rows, saved in value.brought]
        parts = value.seeds, value.copies, value.fresh, brought
        return ("layout", parts) if len(value.seeds) < _LARGE else ("large", mail.write(("layout", parts)))
    if isinstance(value, Saved):
        return "saved", value.letter if isinstance(value, _Sent) else mail.write(flatten(value.open()))
    if isinstance(value, Intervals | Scores) and len(value) >= _LARGE:
        return "large", mail.write(("plain", value))
    return "plain", value


def _unpacked(packed: Any, mail: Mail) -> Any:
    kind, value = packed
    if kind == "large":
        return _unpacked(mail.read(value), mail)
    if kind == "layout":
        seeds, copies, fresh, brought = value
        return Layout(seeds=seeds, copies=copies, fresh=fresh, brought=[(rows, _unpacked(saved, mail)) for rows, saved in brought])
    return _Sent(value, mail) if kind == "saved" else value
