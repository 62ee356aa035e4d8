"""What the benchmarks share: one command in its own process, its time and its peak memory.

Peak memory is the kernel's own figure for the largest process of the command (a loader's
workers are processes of their own), taken when the command has ended. The figure includes
what this process held when it started the command, so keep this process small.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "timm", "openvino", "scikit-learn")


class Failed(SystemExit):
    """A command did not end well; uncaught, it ends the benchmark with the command's words."""


@dataclass(frozen=True)
class Run:
    """One finished command.

    Attributes:
        output: its standard output.
        seconds: wall time.
        peak: memory, MiB.
        processor: seconds of all its threads.
    """

    output: str
    seconds: float
    peak: float
    processor: float = 0.0


def offshelf(*arguments: str | Path) -> list[str]:
    """Return the command that runs offshelf with *arguments* in this environment."""
    return [sys.executable, "-m", "offshelf", *map(str, arguments)]


def run(command: Sequence[str]) -> Run:
    """Run *command* to its end.

    Raises:
        Failed: it ended with a failure; the text is what it said.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise Failed(f"{' '.join(command[:6])} ...\n{errors.read().decode()}")
        output.seek(0)
        # Linux counts in KiB, macOS in bytes.
        unit = 2**20 if sys.platform == "darwin" else 2**10
        processor = usage.ru_utime + usage.ru_stime
        return Run(output.read().decode(), seconds, usage.ru_maxrss / unit, processor)


def heading(title: str) -> str:
    """Return the head of a block for RESULTS.md: title, machine, date and this command."""
    # Where somebody keeps an interpreter or a cache repeats nothing.
    words = [re.sub(r"(^|=)/.*/", r"\1.../", word) for word in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    return f"### {title}\n\n{machine()}\n\n    {command}\n"


def machine() -> str:
    """Return one line for RESULTS.md: date, processor, cores, Python, tested packages."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    python = platform.python_version()
    return f"{date.today()} | {_processor()}, {os.cpu_count()} cores | Python {python}, {packages}"


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    found = next(named, platform.processor() or platform.machine())
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return f"{found} kept to {limit}" if limit else found
