"""A command called from Python: keywords become the arguments that its parser would give.

So both ways share declarations, defaults, checks and messages of every option.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Generic, TypeVar

from offshelf.cli.options.shared_options import check_cache
from offshelf.cli.terminal.parser import Parser
from offshelf.errors import OffshelfError, did_you_mean
from offshelf.functions.values import as_given, as_list, converted, keyword_of
from offshelf.progress import Progress, Silent, notifying

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

# Options that only say what a terminal shows, and what serves in Python.
OF_THE_TERMINAL = {
    "json": "the result has to_json()",
    "quiet": "nothing is printed; progress=... receives notes",
    "debug": "an exception has its traceback",
    "profile": "the result has extraction.profile",
    "strict": "the result lists what could not be used",
}
# Keywords that are no options: objects that hold several of them, and who hears of the progress.
IN_PYTHON = {
    "features": "settings object in place of the options of the network",
    "probability": "settings object in place of the options of probabilities",
    "decision": "settings object in place of costs and thresholds",
    "run": "settings object in place of the options of reading and running",
    "bounds": "settings object in place of the thresholds",
    "settings": "settings object in place of what is measured",
    "choice": "settings object in place of the channels",
    "progress": "receives notes, and how far the work is (default: nobody)",
}


class UnknownOptionError(OffshelfError, TypeError):
    """A function was called with a keyword that it does not have."""


@dataclass(frozen=True)
class Command(Generic[R]):
    """A command, and how it is called from Python.

    Attributes:
        module: of the command, with its options.
        perform: does what arguments say.
        job: takes settings objects in place of single options.
        write: writes the files that the arguments ask for, where *perform* does not.
        hidden: options that only the command line has, and what serves in their place.
    """

    module: ModuleType
    perform: Callable[[argparse.Namespace, Progress], R]
    job: Callable[..., R]
    write: Callable[[argparse.Namespace, R], object] | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The command's name."""
        return self.module.__name__.rpartition(".")[2]

    @functools.cached_property
    def parser(self) -> Parser:
        """The parser of the command."""
        parser = Parser(prog=f"offshelf {self.name}")
        self.module.configure(parser)
        return parser

    @functools.cached_property
    def terminal_only(self) -> Mapping[str, str]:
        """Options without a keyword, and what serves in their place."""
        return {**OF_THE_TERMINAL, **self.hidden}

    @functools.cached_property
    def actions(self) -> dict[str, argparse.Action]:
        """Keyword -> the option or argument of the command line."""
        named = {keyword_of(one): one for one in self.parser._actions if one.dest != "help"}
        return {name: one for name, one in named.items() if name not in self.terminal_only}

    def __call__(self, given: Mapping[str, Any], options: Mapping[str, Any]) -> R:
        """Do it.

        Args:
            given: the parameters that the function names, in their order.
            options: its other keywords.

        Raises:
            OffshelfError: a keyword is unknown, a value cannot be used, or the work fails.
        """
        progress = options.get("progress") or Silent()
        for name in options:
            if name not in (*self.actions, *IN_PYTHON):
                raise UnknownOptionError(self._unknown(name))
        every = {name: one for name, one in {**given, **options}.items() if name != "progress"}
        for name in filter(IN_PYTHON.__contains__, every):
            if name in self.actions:
                continue
            if every[name] is not None and not _holds_several((name, every[name])):
                raise OffshelfError(f"{name}: a settings object, not {every[name]!r}")
        with notifying(progress):
            if any(map(_holds_several, every.items())):
                run = every.get("run")
                place = None if run is None else run.engine.cache_dir
                check_cache(self.name, argparse.Namespace(cache_dir=place))
                return self._by_settings(every, progress)
            arguments = self.arguments(given, options)
            arguments.quiet = True
            check_cache(self.name, arguments)
            return self._written(arguments, self.perform(arguments, progress))

    def arguments(self, given: Mapping[str, Any], options: Mapping[str, Any]) -> argparse.Namespace:
        """Return what the parser would give; what is *given* is taken as it is."""
        values = {one.dest: one.default for one in self.parser._actions if one.dest != "help"}
        for name, value in given.items():
            if name in self.actions:
                action = self.actions[name]
                taken = as_given(name, value, action)
                values[action.dest] = as_list(taken) if _several(action) else taken
        for name, value in options.items():
            if name in self.actions:
                action = self.actions[name]
                values[action.dest] = converted(name, value, action)
        return argparse.Namespace(**values)

    def _written(self, arguments: argparse.Namespace, result: R) -> R:
        if self.write is not None:
            self.write(arguments, result)
        return result

    def _by_settings(self, every: Mapping[str, Any], progress: Progress) -> R:
        """Call the job, which takes settings objects and no single options."""
        known, kept = inspect.signature(self.job).parameters, dict(every)
        out = kept.pop("out", None) if "out" not in known else None
        leading = [kept.pop(name) for name in self._leading if name in kept]
        words = {name: value for name, value in kept.items() if value is not None}
        if strange := [name for name in words if name not in known]:
            held = next(name for name, _ in filter(_holds_several, every.items()))
            raise OffshelfError(
                f"{self.name}: {held}={type(every[held]).__name__}(...) and {strange[0]}=...: "
                "settings objects and single options are not mixed; give one kind"
            )
        result = self.job(*leading, **words, progress=progress)
        return self._written(self.arguments({"out": out}, {}), result)

    @functools.cached_property
    def _leading(self) -> list[str]:
        return [name for name, one in self.actions.items() if not one.option_strings]

    def _unknown(self, name: str) -> str:
        if name in self.terminal_only:
            return f"{self.name} has no keyword {name!r}: {self.terminal_only[name]}"
        decided = self.parser.decided.get(f"--{name.replace('_', '-')}")
        if decided:
            return f"{self.name} has no keyword {name!r}: {decided}"
        names = [*self.actions, *IN_PYTHON]
        return f"{self.name} has no keyword {name!r}.{did_you_mean(name, names)}"

    def function(self, function: F) -> F:
        """Give a function of this command its signature, and the help of its options."""
        hints = typing.get_type_hints(function)
        options = typing.get_type_hints(typing.get_args(hints["options"])[0])
        own = inspect.signature(function)
        named = [one for one in own.parameters.values() if one.name != "options"]
        every = [
            *(one.replace(annotation=hints[one.name]) for one in named),
            *(self._parameter(name, options[name]) for name in self._order(options)),
        ]
        signature = own.replace(parameters=every, return_annotation=hints["return"])
        function.__signature__ = signature  # type: ignore[attr-defined]
        begin, mark, end = (function.__doc__ or "").partition("\n    Raises:")
        lines = "\n".join(self._help(one.name for one in every))
        function.__doc__ = f"{begin}\n    Args:\n{lines}\n{mark}{end}"
        return function

    def _order(self, names: Iterable[str]) -> list[str]:
        """As the command line has them, and last what only Python has."""
        order = list(self.actions)
        return sorted(names, key=lambda one: order.index(one) if one in order else len(order))

    def _parameter(self, name: str, kind: Any) -> inspect.Parameter:
        default = self.actions[name].default if name in self.actions else None
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
        )

    def _help(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            text = IN_PYTHON.get(name, "")
            if name in self.actions:
                text = self.parser._get_formatter()._expand_help(self.actions[name])
            text = _in_python(text, name)
            text = f"{name}: {text.replace('; repeat for', '; a list for')}"
            yield textwrap.fill(
                text,
                92,
                initial_indent=" " * 8,
                subsequent_indent=" " * 12,
                break_on_hyphens=False,
            )


def _in_python(text: str, name: str) -> str:
    """Return the help of an option for its keyword; commands in quotes stay as they are.

    >>> _in_python("as 'offshelf audit --out x.csv' does, with --no-download (default: .)", "out")
    "as 'offshelf audit --out x.csv' does, with no_download"
    """
    if name == "out":
        # Without it, functions write nothing.
        text = re.sub(r" \(default: [^)]*\)", "", text)
    words = r"('offshelf [^']*')|--(\w[\w-]*)"
    return re.sub(words, lambda found: found[1] or found[2].replace("-", "_"), text)


def _holds_several(pair: tuple[str, Any]) -> bool:
    """Return whether a keyword and its value are a settings object."""
    return pair[0] in (*IN_PYTHON, "head") and dataclasses.is_dataclass(pair[1])


def _several(action: argparse.Action) -> bool:
    return action.nargs == "+" or isinstance(action, argparse._AppendAction)
