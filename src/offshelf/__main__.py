"""``python -m offshelf`` is the command ``offshelf``."""

import sys

from offshelf.cli.main import console

if __name__ == "__main__":
    sys.exit(console())
