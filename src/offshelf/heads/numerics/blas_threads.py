"""Independent work in threads of its own, each with a BLAS of one thread.

BLAS shares out one product at a time and waits, busily, for its slowest part. Problems that
do not need each other are better shared out whole: nothing waits, also on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from offshelf.locks import process_lock

Result = TypeVar("Result")

# Below this many values in a part, starting a thread costs more than it saves.
MIN_VALUES = 4096

# The number of threads belongs to the whole process, so one user at a time may change it.
_ONE_USER = process_lock()


def run_in_threads(
    work: Callable[[NDArray[np.intp]], Result], count: int, values: int
) -> list[Result]:
    """Call *work* on disjoint parts of 0 .. count - 1, which together are all of it.

    As many threads work as BLAS would use; meanwhile all of BLAS in this process has one, and
    other calls wait for this one to end.

    Args:
        work: takes the numbers of some of the problems, as_slice spaced; it may not call
            this function again.
        count: number of problems.
        values: size of one problem; small ones are done in one part.

    >>> run_in_threads(len, 3, 10)
    [3]
    """
    controller, threads = _blas()
    parts = max(1, min(threads, count, count * values // MIN_VALUES))
    with _ONE_USER, controller.limit(limits=1, user_api="blas"):
        if parts == 1:
            return [work(np.arange(count))]
        with ThreadPoolExecutor(parts) as pool:
            return list(pool.map(work, [np.arange(first, count, parts) for first in range(parts)]))


def as_slice(numbers: NDArray[np.intp]) -> slice:
    """Return the slice that *numbers*, at least one and as_slice spaced, are."""
    step = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
    return slice(int(numbers[0]), int(numbers[-1]) + 1, step)


@lru_cache(maxsize=1)
def _blas() -> tuple[Any, int]:
    """Return the controller of the BLAS libraries in this process and their number of threads."""
    import scipy.linalg.blas  # noqa: F401  (loaded before the controller looks for libraries)
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    threads = [pool["num_threads"] for pool in controller.info() if pool["user_api"] == "blas"]
    return controller, max(threads, default=1)
