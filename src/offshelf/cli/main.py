"""The program ``offshelf``: runs a command; an error becomes one line and an exit code.

Exit codes: 0 done, 1 the result is a failure, 2 wrong input, 129 the terminal has gone,
130 interrupted, 143 terminated.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import signal
import sys
from collections.abc import Sequence

from offshelf.cli.options.shared_options import check_cache
from offshelf.cli.terminal.console import flush_stdout, prepared_streams, write_stderr
from offshelf.cli.terminal.parser import WRONG_INPUT, Parser
from offshelf.errors import OffshelfError
from offshelf.interrupt import TerminatedError, raising_on_signals
from offshelf.text import shown
from offshelf.version import __version__

# A command is a module of its name among the commands, and its place here.
NAMES = (
    "fit",
    "predict",
    "evaluate",
    "show",
    "compare",
    "curve",
    "extract",
    "audit",
    "backbones",
    "layers",
    "inspect",
    "classify",
    "maps",
    "filters",
    "explain",
    "weights",
    "demo",
    "doctor",
)
COMMANDS = tuple(importlib.import_module(f"offshelf.cli.commands.{name}") for name in NAMES)
WORDS = {129: "the terminal has gone", 130: "interrupted", 143: "terminated"}
RESUME = "what was finished until now is kept; run the same command to go on"
# Libraries make hundreds of thousands of objects that stay; looking through them again and again,
# and once more at the end, took the better part of a second of each cold start.
OBJECTS_BETWEEN_COLLECTIONS = 50_000


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="offshelf",
        description="Off-the-shelf features, on your images: transfer learning in one command.",
        epilog="Start with 'offshelf demo'. 'offshelf COMMAND --help' shows a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"offshelf {__version__}")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, module in zip(NAMES, COMMANDS, strict=True):
        command: Parser = commands.add_parser(name, help=module.SUMMARY)
        command.description = f"{module.SUMMARY[:1].upper()}{module.SUMMARY[1:]}."
        command.set_defaults(run=module.run, parser=command)
        module.configure(command)
        command.short_usage()
    parser.short_usage()
    return parser


def console() -> int:
    """Run the command of this process, and return its exit code."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    try:
        with raising_on_signals():
            return main()
    finally:
        flush_stdout()
        gc.freeze()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the process stays as it was."""
    with prepared_streams():
        return _answered(arguments)


def _answered(arguments: Sequence[str] | None) -> int:
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(arguments)
    except KeyboardInterrupt as stop:
        return _stopped(stop)
    except (OffshelfError, OSError) as error:
        behind = _stop_behind(error)
        if behind is not None:
            return _stopped(behind)
        if isinstance(error, BrokenPipeError):
            # The reader of the output has gone, for example `head`.
            return 0
        if debug:
            raise
        write_stderr(f"error: {one_line(_reason(error))}")
        return WRONG_INPUT


def _stopped(stop: KeyboardInterrupt) -> int:
    code = 128 + (stop.number if isinstance(stop, TerminatedError) else signal.SIGINT)
    write_stderr(f"{WORDS[code]}: {RESUME}")
    return code


def _stop_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interruption during which *error* was raised, if there was one.

    While work is saved after a signal, writing may fail as well: without its terminal a process
    cannot even erase its progress bar.
    """
    cause = error.__context__
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause


def _run(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit:
        # Help or version was printed; a failure to write it shows only now.
        sys.stdout.flush()
        raise
    if options.command is None:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    check_cache(options.command, options)
    code: int = options.run(options)
    sys.stdout.flush()
    return code


def _reason(error: OffshelfError | OSError) -> str:
    if isinstance(error, OffshelfError) or not error.strerror:
        return str(error)
    return f"{error.filename or 'output'}: {error.strerror}"


def one_line(text: str) -> str:
    r"""Return *text* on one line that a terminal can show.

    >>> one_line("a\nb")
    'a b'
    """
    return shown(" ".join(text.split()))


if __name__ == "__main__":
    sys.exit(console())
