"""Standard output and error as a command finds them: closed, full, of another encoding."""

from __future__ import annotations

import contextlib
import io
import os
import sys


def prepare() -> None:
    """Make both streams usable whatever this process was started with.

    A closed stream becomes the null device, so that no file that is opened later takes its
    number and gets what libraries print. A character that a stream cannot encode, such as
    the undecodable part of a file name, is written as an escape.
    """
    if sys.stdout is None or sys.stderr is None:
        while os.open(os.devnull, os.O_RDWR) < 2:
            pass
        sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complain(line: str) -> None:
    """Write one line to standard error, if anybody can hear it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def give_up() -> None:
    """Drop what standard output cannot take: a second try at exit would fail again."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
