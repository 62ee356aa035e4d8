"""Registry of heads: the class of each name, which is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from offshelf.errors import HeadError, did_you_mean

if TYPE_CHECKING:
    from offshelf.heads.kinds.fitter import Fitter


class Row(NamedTuple):
    """Where a head is, what a number after its name means, and whether it holds rows back."""

    module: str
    fitter: str
    size: str = ""
    holds_back: bool = False


# The default first.
_HEADS = {
    "svm": Row("linear", "LinearSvm"),
    "logistic": Row("logistic", "Logistic"),
    "ridge": Row("ridge", "Ridge"),
    "lda": Row("lda", "Lda"),
    "knn": Row("knn", "Neighbours", size="neighbours"),
    "centroid": Row("centroid", "Centroid"),
    "fc": Row("fc", "Connected", size="hidden units", holds_back=True),
}
NAMES = tuple(_HEADS)
MAX_SIZE = 65_536


def names_and_sizes() -> str:
    """Return the names of all heads for a help text.

    >>> names_and_sizes()  # doctest: +ELLIPSIS
    'svm, ..., knn or knn:NEIGHBOURS, ..., fc or fc:HIDDEN_UNITS'
    """
    return ", ".join(
        f"{name} or {name}:{row.size.upper().replace(' ', '_')}" if row.size else name
        for name, row in _HEADS.items()
    )


def holds_back(kind: str) -> bool:
    """Return whether a head learns when to stop from some of its rows.

    >>> holds_back("fc:256"), holds_back("svm")
    (True, False)
    """
    row = _HEADS.get(kind.partition(":")[0])
    return row is not None and row.holds_back


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
    if not isinstance(name, str) or name not in _HEADS:
        hint = did_you_mean(name, NAMES) if isinstance(name, str) else ""
        raise HeadError(f"unknown head {kind!r}: the heads are {', '.join(NAMES)}.{hint}")
    row = _HEADS[name]
    if colon and not row.size:
        raise HeadError(f"head {kind!r}: {name} takes no number, use {name!r}")
    if colon and not (size.isascii() and size.isdigit() and 1 <= int(size[:9]) <= MAX_SIZE):
        raise HeadError(
            f"head {kind!r}: {name} takes a whole number of {row.size} from 1 to {MAX_SIZE}, "
            f"as in '{name}:5'"
        )
    make = getattr(import_module(f"offshelf.heads.kinds.{row.module}"), row.fitter)
    fitter: Fitter = make(int(size)) if colon else make()
    return fitter
