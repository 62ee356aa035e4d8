"""Worker processes that train the heads of a grid, each with one thread of linear algebra.

A process is given units one by one, and what it finishes is on disk at once: a run that was
stopped anywhere can be resumed, with the same results. A unit that another comparison is working
on comes last, and by then is done as a rule.

A worker is ``python -m offshelf.jobs.compare.processes PLAN``: it reads (view, fold, wait) from
stdin, answers each with one line of JSON, and ends with stdin. joblib would be shorter and as fast,
but its workers outlive a killed comparison and leave semaphores behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from offshelf import files
from offshelf.errors import OffshelfError, StoreError
from offshelf.features.reader import processors
from offshelf.jobs.compare.grid_cell import read_cell, run_unit
from offshelf.jobs.compare.plan import Plan
from offshelf.progress import Progress

# Fewer heads than this are trained sooner than processes start.
WORTH_PROCESSES = 12
# A worker holds the rows, a prepared copy, and matrices of the solver.
COPIES = 4
_ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"
)
Unit = tuple[int, int]
Waiting = queue.SimpleQueue[tuple[Unit, bool]]


def run_plan(plan: Plan, progress: Progress, workers: int | None = None) -> None:
    """Finish every cell of *plan* that is not on disk yet.

    *workers* is the number of processes, None for what processors and memory allow.

    Raises:
        StoreError: results or features cannot be kept or read.
        OffshelfError: a worker process exited.
    """
    counts = {unit: _missing(plan, unit) for unit in plan.units}
    missing = {unit: heads for unit, heads in counts.items() if heads}
    if not missing:
        return
    heads = sum(missing.values())
    progress.start("heads", heads)
    try:
        count = min(workers or max(1, min(processors(), _fitting(plan))), len(missing))
        if count == 1 or heads < WORTH_PROCESSES:
            _here(plan, missing, progress)
        else:
            _apart(plan, missing, count, progress)
    except OSError as error:
        raise StoreError(f"{plan.results}: cannot keep results: {error.strerror}") from error
    finally:
        progress.finish()


def _missing(plan: Plan, unit: Unit) -> int:
    return sum(read_cell(plan, *unit, recipe) is None for recipe in plan.recipes)


def _here(plan: Plan, missing: Mapping[Unit, int], progress: Progress) -> None:
    held = []
    for unit, heads in missing.items():
        if run_unit(plan, *unit, wait=False):
            progress.advance(heads)
        else:
            held.append(unit)
    for unit in held:
        run_unit(plan, *unit)
        progress.advance(missing[unit])


def _apart(plan: Plan, missing: Mapping[Unit, int], count: int, progress: Progress) -> None:
    waiting: Waiting = queue.SimpleQueue()
    for unit in missing:
        waiting.put((unit, False))
    failures: list[str] = []
    lock = threading.Lock()

    def done(unit: Unit) -> None:
        with lock:
            progress.advance(missing[unit])

    with files.temporary_folder() as folder:
        place = folder / "plan.json"
        files.write_json(place, plan.to_json())
        threads = [
            threading.Thread(target=_feed, args=(place, number, waiting, done, failures))
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            failures.append("interrupted")
            raise
    if failures:
        raise OffshelfError(failures[0])


def _feed(
    place: Path,
    number: int,
    waiting: Waiting,
    done: Callable[[Unit], None],
    failures: list[str],
) -> None:
    """Give units to one process until none is left or something failed anywhere."""
    command = [sys.executable, "-m", "offshelf.jobs.compare.processes", str(place)]
    environment = os.environ | _ONE_THREAD | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # A file: a full pipe that is not read would block the process.
    said = place.with_name(f"said-{number}.txt")
    with (
        said.open("w") as complaints,
        subprocess.Popen(  # noqa: S603 - our own module, our own file
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            while not failures:
                unit, wait = waiting.get_nowait()
                answer = _ask(process, (*unit, wait), said)
                if "error" in answer:
                    failures.append(answer["error"])
                elif answer["done"]:
                    done(unit)
                else:
                    waiting.put((unit, True))
        except queue.Empty:
            pass
        finally:
            process.communicate()


def _ask(process: subprocess.Popen[str], asked: tuple[int, ...], said: Path) -> dict[str, Any]:
    given, answers = process.stdin, process.stdout
    if given is None or answers is None:
        raise RuntimeError("a worker process needs its streams")
    try:
        given.write(json.dumps(asked) + "\n")
        given.flush()
        line = answers.readline()
    except BrokenPipeError:
        line = ""
    if line:
        answer: dict[str, Any] = json.loads(line)
        return answer
    process.wait()
    lines: list[str] = []
    # Ctrl-C ends the comparison and its folder before this thread hears of it.
    with contextlib.suppress(FileNotFoundError):
        lines = said.read_text(errors="replace").strip().splitlines()
    return {"error": f"a worker process exited: {lines[-1] if lines else 'killed'}"}


def _fitting(plan: Plan) -> int:
    """Return how many workers fit into memory with the largest view."""
    from offshelf.features.store.feature_store import FeatureStore

    free = _free_memory()
    if free is None:
        return processors()
    widths = [
        sum(FeatureStore(plan.root, dict(identity)).dimension for identity in view.parts)
        for view in plan.views
    ]
    return int(free / (COPIES * 4 * len(plan.digests) * max(widths, default=1)))


def _free_memory() -> int | None:
    """Return bytes that can be used without swapping, None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def main(place: str) -> None:
    """Work on the plan at *place* as a worker: answer until stdin ends."""
    plan = Plan.from_json(json.loads(Path(place).read_text()))
    for line in sys.stdin:
        view, fold, wait = json.loads(line)
        try:
            answer: dict[str, Any] = {"done": run_unit(plan, view, fold, wait)}
        except OffshelfError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
