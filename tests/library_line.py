"""Which line of the library is running."""

import sys
from pathlib import Path

import lamarck

_LIBRARY = str(Path(lamarck.__file__).parent)


def library_line():
    """Returns the innermost one."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_LIBRARY):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
