"""What a call refuses, as tests read it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from offshelf.errors import DataError


def refused(call: Callable[[], object]) -> str:
    """Return the one line of the DataError that *call* raises."""
    with pytest.raises(DataError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)
