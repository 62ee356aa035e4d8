"""Standard output and error as a command finds them: closed, full, of another encoding."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Make both streams usable in the block, whatever this process was started with.

    What goes to a file or a pipe is UTF-8 under every code page. A terminal keeps its own
    encoding, and a character that it lacks is written as an escape. A closed stream becomes
    the null device, so that no file that is opened later takes its number and gets what
    libraries print.
    """
    if sys.stdout is None or sys.stderr is None:
        while os.open(os.devnull, os.O_RDWR) < 2:
            pass
        sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    with _encoded(sys.stdout), _encoded(sys.stderr):
        yield


@contextlib.contextmanager
def _encoded(stream: object) -> Iterator[None]:
    if not isinstance(stream, io.TextIOWrapper) or stream.closed:
        yield
        return
    encoding, errors = stream.encoding, stream.errors
    stream.reconfigure(encoding=encoding if stream.isatty() else "utf-8", errors="backslashreplace")
    try:
        yield
    finally:
        # Changing it back writes what is left, which a full disk cannot take.
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(encoding=encoding, errors=errors)


def write_stderr(line: str) -> None:
    """Write one line to standard error, if it takes one."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def flush_stdout() -> None:
    """Write what is left, or drop what standard output cannot take: nobody tries again."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            number = sys.stdout.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
