"""Name -> head. A new kind is one entry here and one class with the methods of ``Fitter``."""

from __future__ import annotations

from collections.abc import Mapping

from offshelf.errors import HeadError, did_you_mean
from offshelf.heads.head import Fitter
from offshelf.heads.lda import Lda
from offshelf.heads.linear import LinearSvm
from offshelf.heads.ridge import Ridge

_FITTERS: Mapping[str, Fitter] = {"svm": LinearSvm(), "ridge": Ridge(), "lda": Lda()}


def kinds() -> tuple[str, ...]:
    """Return the names of all heads, the default first.

    >>> kinds()
    ('svm', 'ridge', 'lda')
    """
    return tuple(_FITTERS)


def get_fitter(kind: str) -> Fitter:
    """Return the fitter named *kind*.

    Raises:
        HeadError: no head has that name.

    >>> get_fitter("rigde")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.HeadError: unknown head 'rigde': ... Did you mean 'ridge'?
    """
    try:
        return _FITTERS[kind]
    except (KeyError, TypeError):
        hint = did_you_mean(kind, _FITTERS) if isinstance(kind, str) else ""
        message = f"unknown head {kind!r}: the heads are {', '.join(_FITTERS)}.{hint}"
        raise HeadError(message) from None
