"""A journal that tests can look at, and whose disk can be full."""

from __future__ import annotations

from lamarck._errors import JournalError
from lamarck.journal import Journal, MemoryJournal


class Watched(Journal):
    """A journal in memory that counts what is appended, and whose disk can be full."""

    def __init__(self):
        self.inner, self.appended, self.full = MemoryJournal(), [], False

    def append(self, run, after, events):
        if self.full:
            raise JournalError("no space left")
        self.appended.append(len(events))
        return self.inner.append(run, after, events)

    def read(self, run, after=0):
        return self.inner.read(run, after)

    def runs(self):
        return self.inner.runs()

    def close(self):
        self.inner.close()
