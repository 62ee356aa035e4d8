"""A process that works on a plan: ``python -m offshelf.jobs.compare.worker PLAN``.

It reads (view, fold, wait) from stdin and answers each with one line of JSON: whether the unit
is done, or another comparison is at it. Results go to disk, so nothing is lost with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from offshelf.errors import OffshelfError
from offshelf.jobs.compare.grid_cell import run_unit
from offshelf.jobs.compare.plan import Plan


def main(place: str) -> None:
    """Answer until stdin ends."""
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
