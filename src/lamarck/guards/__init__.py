"""Guards: they look at a run, before it begins and while it goes on, and say what its owner should know.

They read and never decide. `check_settings` looks at the settings, `check` at a history, and a `Watch` at a run that is going on. A guard is a
frozen dataclass whose fields are its thresholds; a new one is one file here, one line in `GUARDS`, and one test with a run that it warns of and
one that it does not.
"""

from __future__ import annotations

from lamarck.guards.bounds import AtBound
from lamarck.guards.census import Census, Column, Zigzag
from lamarck.guards.collapse import Collapse
from lamarck.guards.family import OneFamily
from lamarck.guards.finding import Finding
from lamarck.guards.greed import Greed
from lamarck.guards.guard import Course, Guard
from lamarck.guards.noise import Noise, wrong_choice
from lamarck.guards.overhead import Overhead
from lamarck.guards.start import check_settings, reach
from lamarck.guards.watch import GUARDS, Watch, check, findings_of, settings_findings

__all__ = [
    "GUARDS",
    "AtBound",
    "Census",
    "Collapse",
    "Column",
    "Course",
    "Finding",
    "Greed",
    "Guard",
    "Noise",
    "OneFamily",
    "Overhead",
    "Watch",
    "Zigzag",
    "check",
    "check_settings",
    "findings_of",
    "reach",
    "settings_findings",
    "wrong_choice",
]
