"""The console: progress and notes on stderr, results on stdout, and the state of both."""

from __future__ import annotations

import collections
import io
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from statistics import median
from typing import TYPE_CHECKING, Any

from offshelf.progress import Progress, Silent, notifying
from offshelf.text import duration, json_text, shown

if TYPE_CHECKING:
    from offshelf.report.result import Result

LINE_SECONDS = 10.0
SHORT_SECONDS = 2.0
FRAME_SECONDS = 0.05
MARK_SECONDS, RATE_SECONDS = 1.0, 30.0
# A step that takes so many times as long as four of five of the last dozen is a pause.
PAUSE, DOZEN = 3.0, 12
# A first step so many times as fast as the later ones is of stored results.
BURST = 5.0


def print_json(document: Any) -> None:
    """Print exactly one JSON document on stdout."""
    sys.stdout.write(json_text(document, indent=2) + "\n")


def say(text: str = "") -> None:
    """Print lines of the result on stdout; what could steer a terminal is shown as escapes."""
    sys.stdout.write("\n".join(map(shown, text.split("\n"))) + "\n")


def show(as_json: bool, document: Callable[[], Any], text: Callable[[], str]) -> None:
    """Print a result: its JSON document with --json, else its text."""
    if as_json:
        print_json(document())
    else:
        say(text())


def show_result(as_json: bool, result: Result) -> None:
    """Print a result: its JSON document with --json, else what ``str`` makes of it."""
    show(as_json, result.to_json, lambda: str(result))


def exit_code(n_ok: int, n_failed: int, strict: bool) -> int:
    """Return 1 where no image could be used, and with *strict* where not every one could.

    >>> exit_code(2, 1, strict=False), exit_code(0, 1, strict=False), exit_code(2, 1, strict=True)
    (0, 1, 1)
    """
    return 1 if n_failed and (strict or not n_ok) else 0


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """Yield the progress for stderr: a bar on a terminal, otherwise a line now and then."""
    with ExitStack() as stack:
        chosen: Progress = Silent()
        if not quiet:
            chosen = stack.enter_context(_Bar()) if sys.stderr.isatty() else _Lines()
        stack.enter_context(notifying(chosen))
        yield chosen


class _Lines:
    """Progress for logs: a line every ten seconds, and at the end of what took a while."""

    def __init__(self) -> None:
        self._work = _Work("", None, "")
        self._printed = 0.0

    def start(self, what: str, total: int | None, unit: str = "") -> None:
        self._work = _Work(what, total, unit)
        self._printed = time.monotonic()

    def advance(self, done: int = 1) -> None:
        self._work.advance(done)
        if time.monotonic() - self._printed >= LINE_SECONDS:
            self._print()

    def finish(self) -> None:
        if self._work.seconds() >= SHORT_SECONDS:
            self._print()

    def note(self, message: str) -> None:
        sys.stderr.write(f"note: {shown(message)}\n")

    def _print(self) -> None:
        self._printed = time.monotonic()
        sys.stderr.write(f"{shown(self._work.what)}: {self._work.state()}\n")


class _Bar:
    """Progress for terminals: a bar with how much is done, the rate and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._work = _Work("", None, "")
        self._drawn = 0.0

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, what: str, total: int | None, unit: str = "") -> None:
        self._work = _Work(what, total, unit)
        self._task = self._bar.add_task(shown(what), total=total, state="")

    def advance(self, done: int = 1) -> None:
        self._work.advance(done)
        if time.monotonic() - self._drawn >= FRAME_SECONDS:
            self._drawn = time.monotonic()
            self._bar.update(self._task, completed=self._work.done, state=self._work.state())

    def finish(self) -> None:
        self._bar.remove_task(self._task)

    def note(self, message: str) -> None:
        text = f"note: {shown(message)}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Work:
    """One piece of work: its name, how much is done, and since when.

    The rate is that of the last half minute of work: stored results went by quickly before, and
    a pause (a sleeping disk, another program) says nothing about what is to come.
    """

    def __init__(self, what: str, total: int | None, unit: str) -> None:
        self.what = what
        self.total = total
        self._bytes = unit == "bytes"
        self.done = 0
        self._began = time.monotonic()
        steps = int(RATE_SECONDS / MARK_SECONDS)
        self._marks = collections.deque([(self._began, 0)], maxlen=steps + 1)

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def advance(self, done: int) -> None:
        self.done += done
        now = time.monotonic()
        if now - self._marks[-1][0] >= MARK_SECONDS:
            self._marks.append((now, self.done))

    def state(self) -> str:
        """Say how much is done, how fast, and how long it will take."""
        rate = self._rate()
        scale, unit, form = (1e6, "MB", ",.1f") if self._bytes else (1.0, self.what, ",.0f")
        of = f" of {self.total / scale:{form}}" if self.total is not None else ""
        left = ""
        if self.total and 0 < self.done < self.total and rate:
            left = f", {duration((self.total - self.done) / rate)} left"
        size = " MB" if self._bytes else ""
        return f"{self.done / scale:{form}}{of}{size}, {rate / scale:.1f} {unit}/s{left}"

    def _rate(self) -> float:
        marks = [*self._marks, (time.monotonic(), self.done)]
        steps = [(end - start, b - a) for (start, a), (end, b) in itertools.pairwise(marks)]
        # What went by at once came from the store.
        while len(steps) > 2 and _speed(steps[0]) > BURST * median(map(_speed, steps[1:])):
            del steps[0]
        lengths = sorted(seconds for seconds, _ in (steps[:-1] or steps)[-DOZEN:])
        longest = PAUSE * lengths[(len(lengths) - 1) * 4 // 5]
        worked, done = 0.0, 0
        for seconds, count in reversed(steps):
            if seconds <= longest and worked < RATE_SECONDS:
                worked, done = worked + seconds, done + count
        return done / max(worked, 1e-9)


def _speed(step: tuple[float, int]) -> float:
    seconds, count = step
    return count / max(seconds, 1e-9)


@contextmanager
def prepared_streams() -> Iterator[None]:
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


@contextmanager
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
        with suppress(OSError, ValueError):
            stream.reconfigure(encoding=encoding, errors=errors)


def write_stderr(line: str) -> None:
    """Write one line to standard error, if it takes one."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def flush_stdout() -> None:
    """Flush standard output; what it cannot take is dropped, and not tried again at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            number = sys.stdout.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
