"""What people see: progress and notes on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from offshelf.progress import Progress, Silent

if TYPE_CHECKING:
    from offshelf.features.profile import Profile

LINE_SECONDS = 10.0


def print_json(document: Any) -> None:
    """Print exactly one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def say(text: str = "") -> None:
    """Print a line of the result on stdout."""
    sys.stdout.write(text + "\n")


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """Yield a progress that fits stderr: a bar on a terminal, now and then a line else."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        with _Bar() as bar:
            yield bar
    else:
        yield _Lines()


class _Lines:
    """Progress for logs: a line when work starts, every ten seconds, and at its end."""

    def __init__(self) -> None:
        self._what, self._done = "", 0
        self._total: int | None = None
        self._began = self._last = time.monotonic()

    def start(self, what: str, total: int | None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._began = self._last = time.monotonic()

    def advance(self, done: int = 1) -> None:
        self._done += done
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._print()

    def finish(self) -> None:
        self._print()

    def note(self, message: str) -> None:
        sys.stderr.write(f"note: {message}\n")

    def _print(self) -> None:
        self._last = time.monotonic()
        rate = self._done / max(self._last - self._began, 1e-9)
        total = f" of {self._total:,}" if self._total is not None else ""
        left = ""
        if self._total and 0 < self._done < self._total:
            left = f", {duration((self._total - self._done) / rate)} left"
        unit = "bytes" if self._what.startswith("bytes") else "images"
        sys.stderr.write(f"{self._what}: {self._done:,}{total} ({rate:.1f} {unit}/s{left})\n")


class _Bar:
    """Progress for terminals: a bar with the rate and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._done = 0
        self._began = 0.0

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, what: str, total: int | None) -> None:
        self._done, self._began = 0, time.monotonic()
        self._task = self._bar.add_task(what, total=total, rate="")

    def advance(self, done: int = 1) -> None:
        self._done += done
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        self._bar.update(self._task, advance=done, rate=f"{rate:.1f}/s")

    def finish(self) -> None:
        self._bar.remove_task(self._task)

    def note(self, message: str) -> None:
        self._console.print(f"note: {message}", markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a time a person reads at a glance.

    >>> duration(0.5), duration(75), duration(7300)
    ('0.5 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


def seconds_line(seconds: dict[str, float]) -> str:
    """Return the stages of a job on one line.

    >>> seconds_line({"read": 1.0, "total": 2.0})
    'read 1.0 s, total 2.0 s'
    """
    return ", ".join(f"{stage} {duration(value)}" for stage, value in seconds.items())


def profile_line(profile: Profile) -> str:
    """Return where an extraction's processor time went, on one line."""
    shares = ", ".join(f"{stage} {share:.0%}" for stage, share in profile.shares().items())
    return (
        f"processor time: {shares}; "
        f"the network waited for images {profile.starved:.1f} s of {profile.wall:.1f} s"
    )


def failure_lines(failures: list[dict[str, str]], shown: int = 20) -> list[str]:
    """Return one line per image that was left out, and how many more there are.

    >>> failure_lines([{"path": "a.jpg", "status": "empty", "reason": "no bytes"}])
    ['left out: a.jpg: empty, no bytes']
    """
    lines = [f"left out: {f['path']}: {f['status']}, {f['reason']}" for f in failures[:shown]]
    if len(failures) > shown:
        lines.append(f"left out: {len(failures) - shown} more; --json lists them all")
    return lines
