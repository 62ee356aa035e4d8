"""A value given in Python, as the parser of a command would have made it of words."""

from __future__ import annotations

import argparse
import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offshelf.errors import OffshelfError, did_you_mean

# Python reserves ``class``.
RENAMED = {"--class": "class_name"}
# What the command line calls an option of several words with commas between.
LISTS = ("LIST", "NAMES")


def keyword_of(action: argparse.Action) -> str:
    """Return the keyword of an option or argument.

    >>> parser = argparse.ArgumentParser()
    >>> keyword_of(parser.add_argument("-b", "--batch-size", dest="size"))
    'batch_size'
    """
    names = action.option_strings
    if not names:
        return action.dest
    return RENAMED.get(names[-1]) or names[-1].lstrip("-").replace("-", "_")


def converted(name: str, value: Any, action: argparse.Action) -> Any:
    """Return *value* of the keyword *name* as the option's own; None is its default.

    A list is one with commas of the command line, or an option that is repeated.

    Raises:
        OffshelfError: no such value can be typed; the line is that of the command line.

    >>> option = argparse.ArgumentParser().add_argument("--top", type=int, default=3)
    >>> converted("top", None, option), converted("top", 5, option)
    (3, 5)
    """
    if value is None:
        return action.default
    if action.nargs == 0:
        return _switch(name, value)
    if isinstance(action, argparse._AppendAction):
        return [_word(name, one) for one in as_list(value)]
    if action.metavar in LISTS and not isinstance(value, str):
        value = _with_commas(value)
    if action.type is None:
        chosen = _word(name, value)
        _check_choice(name, chosen, action)
        return chosen
    return _typed(name, _with_commas(value), action)


def as_list(value: Any) -> list[Any]:
    """Return several values as a list, and one as a list of it.

    >>> as_list("a.jpg"), as_list(("a.jpg", "b.jpg"))
    (['a.jpg'], ['a.jpg', 'b.jpg'])
    """
    an_image = getattr(value, "ndim", 1) > 1
    if an_image or isinstance(value, str | os.PathLike) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def as_given(name: str, value: Any, action: argparse.Action) -> Any:
    """Return *value* as it is, for images and tables are taken as well as their names.

    Raises:
        OffshelfError: it is a number or bytes, or None where there is no default.

    >>> as_given("out", "m.offshelf", argparse.ArgumentParser().add_argument("--out"))
    'm.offshelf'
    """
    several = value if isinstance(value, list | tuple) else [value]
    for one in several:
        number = action.type is None and isinstance(one, int | float | bytes)
        if number or (one is None and not action.option_strings):
            raise OffshelfError(f"{name}: a path, not {one!r}")
    return value


def _switch(name: str, value: Any) -> bool:
    if value not in (True, False):
        raise OffshelfError(f"{name}: True or False, not {value!r}")
    return bool(value)


def _word(name: str, value: Any) -> str:
    if isinstance(value, Path):
        return os.fspath(value)
    if not isinstance(value, str):
        told = " ".join(repr(value).split())
        raise OffshelfError(f"{name}: a text, not {told if len(told) <= 80 else f'{told[:77]}...'}")
    return str(value)


def _check_choice(name: str, word: str, action: argparse.Action) -> None:
    choices = list(action.choices or (word,))
    if word not in choices:
        hint = did_you_mean(word, choices)
        raise OffshelfError(f"{name}: no {word!r}: {', '.join(choices)}.{hint}")


def _with_commas(value: Any) -> str:
    if isinstance(value, Mapping):
        return _pairs(value)
    words = ("none" if one is None else str(one) for one in as_list(value))
    return ",".join(words)


def _pairs(value: Mapping[str, Any]) -> str:
    """Return names with values as the command line has them, quoted where a name needs it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([f"{name}={one}" for name, one in value.items()])
    return text.getvalue()


def _typed(name: str, text: str, action: argparse.Action) -> Any:
    convert: Any = action.type
    try:
        return convert(text)
    except argparse.ArgumentTypeError as error:
        raise OffshelfError(f"{name}: {error}") from error
    except ValueError as error:
        raise OffshelfError(f"{name}: invalid {convert.__name__} value: {text!r}") from error
