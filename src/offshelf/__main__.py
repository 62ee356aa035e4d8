"""``python -m offshelf`` is the command ``offshelf``."""

import sys

from offshelf.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
