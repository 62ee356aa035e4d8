"""OpenVINO and NNCF without their usage reporting, which is never loaded."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from offshelf.forks import process_lock

REPORTER = "openvino_telemetry"
_ONE_USER = process_lock()


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Let the block import libraries without what reports their use; they have a stand-in.

    Where somebody else has loaded it, it stays; where not, it can be loaded afterwards.

    >>> with without_telemetry():
    ...     REPORTER in sys.modules
    True
    """
    with _ONE_USER:
        if REPORTER in sys.modules:
            yield
            return
        sys.modules[REPORTER] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            if sys.modules.get(REPORTER, REPORTER) is None:
                del sys.modules[REPORTER]
