"""``python -m lamarck``: the same as ``lamarck``."""

import sys

from lamarck.cli import main

if __name__ == "__main__":  # processes that demos start import this file as well
    sys.exit(main())
