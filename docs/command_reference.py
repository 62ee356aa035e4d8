"""Writes reference/commands.md from the parsers of the commands; a test compares both."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path

from offshelf.cli.main import COMMANDS, NAMES, build_parser
from offshelf.cli.terminal.parser import Parser

PAGE = Path(__file__).parent / "reference" / "commands.md"
# Groups of options that commands share; each option is explained once, at the end.
SHARED = ("network", "classifier", "probabilities", "running", "output")
HEAD = """\
# Commands

`offshelf COMMAND --help` says the same in a terminal. What several commands share is explained
once, [at the end](#shared-options). DATA is described in [Your images](../data.md).
"""


def page() -> str:
    """Return the page."""
    subparsers = next(
        one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction)
    )
    shared: dict[str, dict[str, str]] = {name: {} for name in SHARED}
    parts = [HEAD]
    for name, module in zip(NAMES, COMMANDS, strict=True):
        parser: Parser = subparsers.choices[name]
        parts.append(f"## {name}\n\n{module.SUMMARY[:1].upper()}{module.SUMMARY[1:]}.\n")
        parts.extend(_command(parser, shared))
        parts.extend(_actions(parser, shared))
        if parser.epilog:
            parts.append(f"{textwrap.fill(parser.epilog, 100)}\n")
    parts.append("## Shared options\n")
    for group, options in shared.items():
        parts.append(f"### {group}\n")
        parts.append(_table(options))
    return "\n".join(parts)


def _command(parser: Parser, shared: dict[str, dict[str, str]]) -> Iterator[str]:
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    yield f"    {usage}\n"
    for group in parser._action_groups:
        found = {_named(one): _help(parser, one) for one in group._group_actions if _listed(one)}
        if not found:
            continue
        title = str(group.title)
        if title in shared:
            shared[title] |= {
                name: text for name, text in found.items() if name not in shared[title]
            }
            names = ", ".join(name.split(" or ")[0] for name in found)
            yield f"Shared, of [{title}](#{title}): {names}.\n"
        else:
            if title not in ("arguments", "options"):
                yield f"*{title[:1].upper()}{title[1:]}*\n"
            yield _table(found)


def _actions(parser: Parser, shared: dict[str, dict[str, str]]) -> Iterator[str]:
    """Yield the commands within a command: those of ``weights``."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield f"### {parser.prog.removeprefix('offshelf ')} {name}\n"
                yield from _command(inner, shared)


def _listed(action: argparse.Action) -> bool:
    hidden = action.dest == "help" or action.help == argparse.SUPPRESS
    return not hidden and not isinstance(action, argparse._SubParsersAction)


def _named(action: argparse.Action) -> str:
    metavar = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
    if not action.option_strings:
        return f"`{metavar or action.dest}`"
    value = f" {metavar}" if action.nargs != 0 and metavar else ""
    long, *others = sorted(action.option_strings, key=len, reverse=True)
    return " or ".join([f"`{long}{value}`", *(f"`{one}`" for one in others)])


def _help(parser: Parser, action: argparse.Action) -> str:
    text = " ".join(parser._get_formatter()._expand_help(action).split())
    return text.replace("<", "&lt;").replace("*", "\\*")


def _table(options: dict[str, str]) -> str:
    rows = [
        f"| {name.replace('|', chr(92) + '|')} | {text.replace('|', chr(92) + '|')} |"
        for name, text in options.items()
    ]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
