"""Name -> head. A new kind is one entry here and one class with the methods of ``Fitter``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from offshelf.errors import HeadError, did_you_mean
from offshelf.heads.kinds.centroid import Centroid
from offshelf.heads.kinds.fc import Connected
from offshelf.heads.kinds.fitter import Fitter
from offshelf.heads.kinds.knn import Neighbours
from offshelf.heads.kinds.lda import Lda
from offshelf.heads.kinds.linear import LinearSvm
from offshelf.heads.kinds.logistic import Logistic
from offshelf.heads.kinds.ridge import Ridge

_FITTERS: Mapping[str, Callable[[], Fitter]] = {
    "svm": LinearSvm,
    "logistic": Logistic,
    "ridge": Ridge,
    "lda": Lda,
    "knn": Neighbours,
    "centroid": Centroid,
    "fc": Connected,
}
# What a number after the name and a colon means.
_SIZED: Mapping[str, tuple[Callable[[int], Fitter], str]] = {
    "knn": (Neighbours, "neighbours"),
    "fc": (Connected, "hidden units"),
}
MAX_SIZE = 65_536


def kinds() -> tuple[str, ...]:
    """Return the names of all heads, the default first.

    >>> kinds()
    ('svm', 'logistic', 'ridge', 'lda', 'knn', 'centroid', 'fc')
    """
    return tuple(_FITTERS)


def get_fitter(kind: str) -> Fitter:
    """Return the fitter named *kind*, for example ``svm``, ``knn:5`` or ``fc:256``.

    Raises:
        HeadError: no head has that name, or it takes no such number.

    >>> get_fitter("rigde")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.HeadError: unknown head 'rigde': ... Did you mean 'ridge'?
    """
    name, colon, size = kind.partition(":") if isinstance(kind, str) else (kind, "", "")
    if not isinstance(name, str) or name not in _FITTERS:
        hint = did_you_mean(name, _FITTERS) if isinstance(name, str) else ""
        raise HeadError(f"unknown head {kind!r}: the heads are {', '.join(_FITTERS)}.{hint}")
    if not colon:
        return _FITTERS[name]()
    if name not in _SIZED:
        raise HeadError(f"head {kind!r}: {name} takes no number, use {name!r}")
    make, what = _SIZED[name]
    if not (size.isascii() and size.isdigit() and 1 <= int(size[:9]) <= MAX_SIZE):
        raise HeadError(
            f"head {kind!r}: {name} takes a whole number of {what} from 1 to {MAX_SIZE}, "
            f"as in '{name}:5'"
        )
    return make(int(size))
