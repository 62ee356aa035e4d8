"""The arguments of the benchmarks: what cannot be measured is one line, and exit code 2."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose help states every default, and whose errors are one line."""

    def __init__(self, description: str | None) -> None:
        first = (description or "").splitlines()[0].replace("%", "%%")
        super().__init__(
            description=first,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        sys.stderr.write(f"error: {message.removeprefix('argument ')}\n")
        sys.exit(2)


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def existing(text: str) -> Path:
    """Return the path of a file or folder that is there."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return path
