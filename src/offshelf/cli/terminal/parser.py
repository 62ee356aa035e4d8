"""The argument parser: one-line errors that suggest a name, and the types of arguments."""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from offshelf.data.folders.image_files import is_image_name
from offshelf.errors import did_you_mean

WRONG_INPUT = 2
MAX_COLUMNS = 100
MAX_MEMORY = 10**15
# Options of one value of which compare takes several.
COMPARED = frozenset({"backbone", "layer", "pooling", "head", "c", "normalisation", "reduction"})


class Help(argparse.HelpFormatter):
    """Help as wide as the terminal, up to 100 columns, with the names in one column."""

    def __init__(self, prog: str) -> None:
        columns = shutil.get_terminal_size().columns
        super().__init__(prog, max_help_position=26, width=min(max(columns, 60), MAX_COLUMNS) - 2)

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):
            return super()._format_action(action)
        # The list of commands needs neither a heading of its own nor an indent below it.
        return "".join(super(Help, self)._format_action(one) for one in action._get_subactions())

    def _iter_indented_subactions(
        self, action: argparse.Action
    ) -> Generator[argparse.Action, None, None]:
        if isinstance(action, argparse._SubParsersAction):
            yield from action._get_subactions()


class Once(argparse._StoreAction):
    """An option of one value, which is refused where it is given with two: one would be lost."""

    _given: tuple[argparse.Namespace, Any] | None = None

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep the value."""
        if self.option_strings and self._given and self._given[0] is namespace:
            first, second = (_spelled(one) for one in (self._given[1], values))
            if first != second:
                hint = "; 'offshelf compare' measures several" if self.dest in COMPARED else ""
                text = f"given as {first!r} and as {second!r}, but it takes one{hint}"
                raise argparse.ArgumentError(self, text)
        self._given = namespace, values
        super().__call__(parser, namespace, values, option_string)


def _spelled(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class Parser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and suggests what may be meant."""

    # Options of other commands that this one lacks -> what decides in their place.
    decided: Mapping[str, str] = MappingProxyType({})

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, formatter_class=Help, allow_abbrev=False, **settings)
        self._positionals.title = "arguments"
        for name in (None, "store"):
            self.register("action", name, Once)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        stop = " " if message.endswith(("?", ".")) else "; "
        text = " ".join(message.removeprefix("argument ").split())
        sys.stderr.write(f"error: {text}{stop}'{self.prog} --help' shows the options\n")
        sys.exit(WRONG_INPUT)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Parse all arguments; the command itself reports an unknown option."""
        self._refuse_files_like_options(sys.argv[1:] if args is None else args)
        options: argparse.Namespace
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            command: Parser = getattr(options, "parser", self)
            command.refuse(rest)
        return options

    def _refuse_files_like_options(self, words: Sequence[str]) -> None:
        """Say how to name a file that begins with a dash; no option contains a dot."""
        for word in itertools.takewhile(lambda one: one != "--", words):
            if word.startswith("-") and "." in word and "=" not in word and os.path.lexists(word):
                self.error(f"{word!r} begins with a dash; for the file write './{word}'")

    def refuse(self, rest: Sequence[str]) -> NoReturn:
        """Report the first unknown argument."""
        word = next((one for one in rest if one.startswith("-")), rest[0]).split("=")[0]
        if not word.startswith("-"):
            self.error(f"unexpected argument {word!r}")
        option = word if word.startswith("--") else word[:2]
        if option in self.decided:
            command = self.prog.removeprefix("offshelf ")
            self.error(f"{command} has no option {option!r}: {self.decided[option]}")
        if is_image_name(word) or os.path.lexists(word):
            self.error(f"no option {word!r}; for a file of this name write './{word}'")
        self.error(f"no option {word!r}.{did_you_mean(word, self._option_string_actions)}")

    def short_usage(self) -> None:
        """Let the usage name what is required, and say [options] for the rest."""
        required = [one for one in self._get_optional_actions() if one.required]
        words = [f"{one.option_strings[0]} {one.metavar}" for one in required]
        for action in self._get_positional_actions():
            name = str(action.metavar or action.dest)
            words.append(f"{name} ..." if action.nargs == "+" else name)
        self.usage = " ".join([self.prog, "[options]", *words])

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse ignores that help could not be written.
        (file or sys.stderr).write(message)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), choices)
            name = "/".join(action.option_strings) or str(action.metavar or action.dest)
            raise argparse.ArgumentError(
                None, f"{name.lower()}: no {value!r}: {', '.join(choices)}.{hint}"
            )


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a converter for whole numbers from *low* to *high*.

    >>> whole_number(1, 8)("4")
    4
    """

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not from {low} to {high}")
        return value

    return convert


def memory_size(text: str) -> int:
    """Return a number of bytes.

    >>> memory_size("1.5G"), memory_size("1 GiB")
    (1500000000, 1073741824)
    """
    from offshelf.cache import size_in_bytes

    size = size_in_bytes(text)
    if size is None or not 1 <= size <= MAX_MEMORY:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 800M or 2G")
    return size


def strength(text: str) -> float | str:
    """Return a value of C, or ``auto``.

    >>> strength("0.1"), strength("auto")
    (0.1, 'auto')
    """
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number and not 'auto'") from None
