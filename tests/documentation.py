"""The pages for readers: README, CONTRIBUTING and those below docs/, and the examples in them."""

from __future__ import annotations

import argparse
import doctest
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from offshelf.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n+)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PARSER = build_parser()


@dataclass(frozen=True, kw_only=True)
class Example:
    """A fenced block of a page: its language, text and first line, and why it is not run."""

    language: str
    text: str
    line: int
    reason: str

    def commands(self) -> Iterator[tuple[list[str], str]]:
        """Yield the words of each offshelf command of a block, and what the page says it prints."""
        if self.language == "sh":
            for line in re.sub(r"\\\n\s*", "", self.text).splitlines():
                found = re.search(r"(?:^|\| )offshelf ([^|>]*)", line)
                if found:
                    yield shlex.split(found[1], comments=True), ""
        elif self.language == "console":
            for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
                typed, _, printed = re.sub(r"\\\n\s*", "", part).partition("\n")
                words = shlex.split(typed, comments=True)
                assert words[0] == "offshelf", f"line {self.line}: {typed}"
                yield words[1:], printed.strip("\n")


def examples(text: str) -> Iterator[Example]:
    """Yield the fenced blocks of a page, in their order."""
    for found in FENCE.finditer(text):
        yield Example(
            language=found["language"],
            text=found["text"],
            line=text.count("\n", 0, found.start("text")) + 1,
            reason=found["reason"] or "",
        )


def parsed(words: list[str]) -> argparse.Namespace:
    """Return what the real parser makes of a command; it exits where it is wrong."""
    return PARSER.parse_args(words)


def prints(expected: str, printed: str) -> bool:
    r"""Return whether a command printed every line that a page says, but for the figures.

    Figures, and so the order of rows and verdicts, differ with the number of images and the
    machine. ``...`` stands for anything, as in doctest.

    >>> prints("accuracy  93.1 %\n...", "accuracy    9 %\nmodel m\n")
    True
    >>> prints("accuracy  93.1 %", "log loss  93.1 %")
    False
    """
    found = {_without_figures(line) for line in printed.splitlines()}
    wanted = [_without_figures(line) for line in expected.splitlines() if line.strip(". ")]
    return all(any(_same(want, got) for got in found) for want in wanted)


def _same(want: str, got: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, want.split("..."))), got) is not None


def _without_figures(line: str) -> str:
    # Rules below headings are as long as their columns are wide.
    line = re.sub(r"(?:< )?[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?", "0", re.sub(r"--+", "--", line))
    line = re.sub(r"= best|\bworse\b", "VERDICT", re.sub(r"\b(?:a|no) real", "real", line))
    return " ".join(line.split())


def python_of(text: str, name: str) -> list[doctest.Example]:
    """Return the Python examples of a page or block."""
    return doctest.DocTestParser().get_doctest(text, {}, name, name, 0).examples
