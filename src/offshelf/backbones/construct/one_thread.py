"""torch in one thread: the same bits on any number of processors, and no wait after a fork.

How torch shares out a convolution decides the order of its sums, so the last bits of features
would depend on the number of threads, and on the place of an image in its batch. And the
threads that torch once started are not there in a process that is forked afterwards: there it
would wait for them for ever.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with the calling thread alone; other threads keep what they have.

    >>> import torch
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    import torch

    # Asked for the first time in a thread, torch sets the number to its own.
    torch.get_num_threads()
    with _openmp().limit(limits=1):
        yield


@functools.cache
def _openmp() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")
