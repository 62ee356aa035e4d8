"""What README and the pages below docs/ say: their examples run, their links lead somewhere."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from command_run import Run
from documentation import PAGES, ROOT, Example, examples, parsed, prints, python_of

PICTURES = ROOT / "docs" / "pictures"


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_examples_of_a_page_run(
    name: str, reader: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the top, commands and Python in one folder, as a reader would."""
    held: dict[str, object] = {}
    for one in examples(PAGES[name].read_text(encoding="utf-8")):
        if one.reason:
            continue
        if one.language == "console":
            run_commands(one, name, capsys)
        elif one.language == "python":
            run_python(one, name, held)


def run_commands(one: Example, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in one.commands():
        run = Run(capsys, *words)
        wrong = expected.startswith("error:")
        assert run.code == (2 if wrong else 0), f"{name}:{one.line}: {words}: {run.err}"
        printed = run.err if wrong else run.out
        assert not expected or prints(expected, printed), f"{name}:{one.line}: {words}: {printed}"


def run_python(one: Example, name: str, held: dict[str, object]) -> None:
    found: list[str] = []
    test = doctest.DocTest(python_of(one.text, name), held, name, name, one.line, None)
    test.globs = held
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=found.append, clear_globs=False)
    assert not runner.failures, "".join(found)


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_are_commands(name: str) -> None:
    for one in examples(PAGES[name].read_text(encoding="utf-8")):
        for words, _ in one.commands():
            try:
                parsed(words)
            except SystemExit:
                pytest.fail(f"{name}:{one.line}: offshelf {' '.join(words)}")


def test_the_examples_that_are_not_run_are_few() -> None:
    blocks = [one for path in PAGES.values() for one in examples(path.read_text(encoding="utf-8"))]
    assert not [one for one in blocks if one.language not in ("sh", "console", "python", "mermaid")]
    run = [one for one in blocks if one.language in ("console", "python") and not one.reason]
    assert len([one for one in blocks if one.reason]) < len(run) / 3


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].read_text(encoding="utf-8").splitlines()) <= 220


def links(name: str) -> set[str]:
    """The places beside a page that it links to or shows."""
    text = re.sub(r"^```.*?^```$", "", PAGES[name].read_text("utf-8"), flags=re.M | re.S)
    found = re.findall(r"\]\(([^)\s]+)\)|src(?:set)?=\"([^\"]+)\"", text)
    return {one.split("#")[0] for pair in found for one in pair if one} - {""}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_of_the_project(name: str) -> None:
    inside = {one for one in links(name) if not one.startswith("https://")}
    assert [one for one in inside if not (PAGES[name].parent / one).is_file()] == []


def test_every_page_can_be_reached_from_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", navigation))
    assert listed == {name.removeprefix("docs/") for name in PAGES} - {"README.md"}


def test_pictures_are_small_and_shown() -> None:
    shown = {Path(one).name for name in PAGES for one in links(name)}
    kept = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert set(kept) <= shown
    assert {name for name, size in kept.items() if size > 150_000} == set()


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_lines_are_not_too_long_to_read_as_text(name: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text("utf-8"), flags=re.M | re.S)
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "!", "<"))]
    assert [line for line in lines if len(line) > 120 and "](" not in line] == []
