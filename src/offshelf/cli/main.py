"""``offshelf``: picks the command, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 the result is a failure, 2 wrong input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from offshelf import __version__
from offshelf.cli import (
    backbones,
    demo,
    doctor,
    evaluate,
    extract,
    fit,
    layers,
    predict,
    weights,
)
from offshelf.errors import OffshelfError, did_you_mean

COMMANDS = (fit, predict, evaluate, extract, backbones, layers, weights, demo, doctor)
WRONG_INPUT = 2
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with a suggestion."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        sys.stderr.write(f"error: {message}; '{self.prog} --help' shows the options\n")
        sys.exit(WRONG_INPUT)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            options = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), options)
            name = "/".join(action.option_strings) or action.metavar or action.dest
            raise argparse.ArgumentError(
                None, f"{name}: no {value!r}: {', '.join(options)}.{hint}".removesuffix(".")
            )


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="offshelf",
        description="Off-the-shelf features, on your images: transfer learning in one command.",
        epilog="offshelf COMMAND --help shows the options of a command. Start with: offshelf demo",
    )
    parser.add_argument("--version", action="version", version=f"offshelf {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        module.configure(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except OffshelfError as error:
        if options.debug:
            raise
        sys.stderr.write(f"error: {one_line(str(error))}\n")
        return WRONG_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was done is kept; run the same command to go on\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def one_line(text: str) -> str:
    r"""Return *text* on one line.

    >>> one_line("a\nb")
    'a b'
    """
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
