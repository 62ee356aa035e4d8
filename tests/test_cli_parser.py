"""Words on the command line: help of every command, suggestions, one line and exit code 2."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from offshelf import __version__
from offshelf.cli.main import COMMANDS, NAMES, build_parser, main, one_line
from offshelf.cli.options.model_options import DECIDED_BY_THE_MODEL
from offshelf.cli.options.shared_options import run_settings
from offshelf.cli.terminal.parser import Parser

ACTIONS = [["weights", "list"], ["weights", "add"], ["weights", "fetch"]]
HEAVY = "numpy PIL torch torchvision timm openvino sklearn scipy pandas pyarrow matplotlib rich"


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as left:
        code = int(left.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_lists_every_command_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = output(capsys, "--help")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for module, name in zip(COMMANDS, NAMES, strict=True):
        assert f"  {name:<10}  {module.SUMMARY}" in lines
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("words", [[name] for name in NAMES] + ACTIONS, ids=" ".join)
def test_every_command_has_help_that_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = output(capsys, *words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: offshelf {' '.join(words)} [")
    assert max(map(len, out.splitlines())) <= 80


def test_no_command_shows_the_help_and_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = output(capsys)
    assert (code, out) == (2, "")
    assert err.startswith("usage: offshelf [options] COMMAND")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "--version") == (0, f"offshelf {__version__}\n", "")


WRONG = [
    ("fti x", "command: no 'fti': ", "Did you mean 'fit'?"),
    ("weights ad x", "action: no 'ad': list, add, fetch.", "Did you mean 'add'?"),
    ("fit x --bacbone y", "no option '--bacbone'.", "Did you mean '--backbone'?"),
    ("fit x --backbon=y", "no option '--backbon'.", "Did you mean '--backbone'?"),
    ("predict m x --cvs", "no option '--cvs'.", "Did you mean '--csv'?"),
    ("weights list --jsno", "no option '--jsno'.", "'offshelf weights list --help' shows"),
    ("fit x --zzz", "no option '--zzz'. 'offshelf fit --help' shows the options", ""),
    ("fit x y", "unexpected argument 'y'; 'offshelf fit --help' shows the options", ""),
    ("fit", "the following arguments are required: DATA;", "'offshelf fit --help'"),
    ("fit x --C high", "--C: 'high' is no number and not 'auto';", ""),
    ("fit x --seed -1", "--seed: -1 is not from 0 to 4294967295;", ""),
    ("fit x --seed 1.5", "--seed: '1.5' is no whole number;", ""),
    ("fit x --samples 17", "--samples: 17 is not from 0 to 16;", ""),
    ("fit x --batch-size 0", "--batch-size: 0 is not from 1 to 4096;", ""),
    ("fit x --max-memory lots", "--max-memory: 'lots' is no size such as 800M or 2G;", ""),
    ("fit x --max-memory 0", "--max-memory: '0' is no size such as 800M or 2G;", ""),
    ("fit x --max-memory 9999999T", "--max-memory: '9999999T' is no size such as 800M", ""),
    (
        "predict m x --decode reduced",
        "predict has no option '--decode': the model file says how images are decoded; 'offshelf ",
        "",
    ),
    ("evaluate m x -bvgg16", "evaluate has no option '-b': the model file names its network;", ""),
    ("show m --weights=w", "show has no option '--weights': the model file names its weights", ""),
    ("predict m x --top 0", "--top: 0 is not from 1 to 1000;", ""),
]


@pytest.mark.parametrize(("words", "start", "inside"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_word_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], words: str, start: str, inside: str
) -> None:
    code, out, err = output(capsys, *words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {start}")
    assert inside in err
    assert err.count("\n") == 1


# Options of fit that say nothing about the model in a finished file.
OF_A_RUN = {"--samples", "--test-size", "--seed", "--corrections", "--profile", "--help"}


@pytest.mark.parametrize("words", ["predict m x", "evaluate m x", "explain m x", "show m"])
def test_what_a_model_decides_is_no_option_where_it_is_used(
    capsys: pytest.CaptureFixture[str], words: str
) -> None:
    name = words.split(maxsplit=1)[0]
    own = dict(zip(NAMES, COMMANDS, strict=True))
    options = {}
    for command in ("fit", name):
        parser = Parser(command)
        own[command].configure(parser)
        options[command] = set(parser._option_string_actions)
    missing = options["fit"] - options[name] - OF_A_RUN
    if name == "show":
        missing &= DECIDED_BY_THE_MODEL.keys() | {"-b", "-l"}
        assert "--weights" in missing
    missing -= {"-o", "--out", "--errors", "--errors-page", "--strict", "--profile", "--classes"}
    assert {"--decode", "--backbone", "-l", "--C", "--precision", "--reject-by"} <= missing
    for option in sorted(missing):
        code, out, err = output(capsys, *words.split(), option, "1")
        assert (code, out, err.count("\n")) == (2, "", 1)
        reason = DECIDED_BY_THE_MODEL[{"-b": "--backbone", "-l": "--layer"}.get(option, option)]
        assert err.startswith(f"error: {name} has no option {option!r}: {reason}; 'offshelf {name}")


def test_every_command_that_reads_images_bounds_them_alike() -> None:
    for words in (
        ["fit", "x"],
        ["evaluate", "m", "x"],
        ["predict", "m", "x"],
        ["extract", "x"],
        ["compare", "x"],
        ["curve", "x"],
        ["audit", "x"],
        ["classify", "x"],
        ["explain", "m", "x"],
        ["maps", "x", "-l", "stem"],
    ):
        given = build_parser().parse_args([*words, "--max-memory", "2G", "--keep-damaged"])
        limits = run_settings(given).reading.limits
        assert (limits.max_memory, limits.keep_damaged) == (2 * 10**9, True)
        plain = run_settings(build_parser().parse_args(words)).reading.limits
        assert (plain.max_memory, plain.keep_damaged) == (None, False)


def test_no_option_is_abbreviated() -> None:
    def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
        inner = [
            one
            for action in parser._actions
            if isinstance(action, argparse._SubParsersAction)
            for one in action.choices.values()
        ]
        return [parser, *(found for one in inner for found in parsers(one))]

    assert not any(parser.allow_abbrev for parser in parsers(build_parser()))


def test_every_option_is_explained() -> None:
    commands = next(
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for name, command in commands.choices.items():
        for action in command._actions:
            assert action.help or action.dest == "action", f"{name}: {action.dest}"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from offshelf.cli.main import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print(*(set('{HEAVY}'.split()) & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == ""
    assert result.stdout.startswith("usage: offshelf")


@pytest.mark.parametrize("text", ["a\nb\r\n c", "a\tb  c"])
def test_an_error_stays_on_one_line(text: str) -> None:
    assert one_line(text) == "a b c"


def test_an_error_cannot_steer_the_terminal() -> None:
    assert one_line("\x1b[31mred\udce9") == "\\x1b[31mred\\xe9"


def test_summaries_are_short() -> None:
    assert [module.SUMMARY for module in COMMANDS if len(module.SUMMARY) > 64] == []


def test_the_package_can_be_run_as_a_module(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "offshelf.cli.main", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"offshelf {__version__}\n"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("fit", "seed of all random choices (0)"),
        ("fit", "reject images as unknown, at this false-rejection rate on training images"),
        ("fit", "a layer of 'offshelf layers', or a module path (penultimate)"),
        ("extract", "or a module path; repeat for several in one pass (penultimate)"),
        ("maps", "or a module path; repeat for several, a picture each"),
        ("curve", "target accuracy, for example 0.95: report how many images per class reach it"),
        ("compare", "run a very large grid without asking"),
        ("audit", "minimum cosine of the features that confirms a"),
    ],
)
def test_help_says_what_an_option_does(
    capsys: pytest.CaptureFixture[str], command: str, text: str
) -> None:
    assert text in " ".join(output(capsys, command, "--help")[1].split())
