"""The ``lamarck`` command."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence

from lamarck._errors import LamarckError, require

__all__ = ["main"]

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What a disk says when it cannot go on, without always naming the file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: What stands after ``lamarck`` on the command line; by default what the process was started with.

    Returns:
        The exit status: 0; 1 if the training function failed; 2 for what the user can put right; 130 after Ctrl-C.

    Raises:
        SystemExit: After SIGTERM or SIGHUP, with the status 143 or 129.

    Example:
        >>> main(["--version"])
        0.1.0
        0
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # stars and sparklines, where the terminal's encoding has none
    try:
        require("cyclopts", "cli", "The lamarck command")
        require("rich", "cli", "The lamarck command")
        from lamarck.cli.app import run_app

        return run_app(sys.argv[1:] if arguments is None else arguments)
    except LamarckError as error:
        from lamarck.cli.errors import show

        return show(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough, as in `lamarck show run.db | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno not in _DISK:
            raise
        where = "" if error.filename is None else f"{error.filename!r}: "
        print(f"lamarck: {where}{error.strerror}; make room, check who may write there, or give another path", file=sys.stderr)
        return 2
