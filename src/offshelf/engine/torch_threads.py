"""How many threads torch computes in: a setting of the whole process, lent to one at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_ONE_USER = threading.RLock()


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch compute in *count* threads for the block, None for as many as it does.

    Other blocks with a number of their own wait, as the last to end would not know what to
    put back.

    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with torch_threads(1):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    if count is None:
        yield
        return
    import torch

    with _ONE_USER:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
