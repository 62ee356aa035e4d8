"""What people see while they wait, and how results are laid out."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from offshelf.cli.main import main
from offshelf.cli.terminal import console
from offshelf.data.demo_images import write_demo
from offshelf.progress import Silent
from offshelf.report import summary
from offshelf.text import duration


class Clock:
    """A clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(console.time, "monotonic", lambda: self.now)


def said(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    total: int,
    steps: Sequence[int | tuple[float, int]],
) -> list[str]:
    """The lines of a log of work on *total* images.

    *steps* are how many are done each second, or in how many seconds how many.
    """
    clock = Clock(monkeypatch)
    with console.progress(quiet=False) as progress:
        progress.start("images", total)
        for step in steps:
            seconds, done = step if isinstance(step, tuple) else (1, step)
            clock.now += seconds
            progress.advance(done)
        progress.finish()
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(capsys, monkeypatch, 3000, 30 * [100]) == [
        "images: 1,000 of 3,000, 100.0 images/s, 20.0 s left",
        "images: 2,000 of 3,000, 100.0 images/s, 10.0 s left",
        "images: 3,000 of 3,000, 100.0 images/s",
        "images: 3,000 of 3,000, 100.0 images/s",
    ]


def test_what_was_known_before_does_not_count_as_speed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = said(capsys, monkeypatch, 5000, 4 * [1000] + 46 * [10])
    assert lines[-2] == "images: 4,460 of 5,000, 10.0 images/s, 54.0 s left"
    # Nor in the half minute after it.
    lines = said(capsys, monkeypatch, 5000, [2000, 1000, *8 * [10]])
    assert lines[0] == "images: 3,080 of 5,000, 10.0 images/s, 3 min 12 s left"


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        # The computer did something else for ten minutes, or for two and three.
        (20 * [10] + [(600, 1)], "images: 201 of 2,001, 10.0 images/s, 3 min 00 s left"),
        (10 * [10] + [(120, 1), *9 * [10], (180, 1)], "images: 192 of 2,001, 10.0 images/s, "),
        ([10, (60, 0), 10, 10, (11, 110)], "images: 140 of 2,001, 10.0 images/s, 3 min 06 s left"),
        # Before the first image.
        ([(60, 10), *8 * [10], (2, 20)], "images: 110 of 2,001, 10.0 images/s, 3 min 09 s left"),
        # All of it is slow, or every third image is.
        (3 * [(30, 1)], "images: 3 of 2,001, 0.0 images/s, 16 h 39 min left"),
        (8 * [10, 10, (13, 10)], "images: 240 of 2,001, 2.0 images/s, 14 min 40 s left"),
        # It became slow, and stays so.
        (20 * [100] + 4 * [(10, 1)], "images: 2,004 of 9,000, 0.1 images/s, "),
        (20 * [100] + 8 * [(10, 1)], "images: 2,008 of 9,000, 0.1 images/s, "),
        # Images come in bunches.
        (6 * [10, (10, 100)], "images: 660 of 2,001, 10.0 images/s, 2 min 14 s left"),
    ],
)
def test_a_pause_does_not_count_as_slowness(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    steps: list[int | tuple[float, int]],
    line: str,
) -> None:
    total = 9000 if "9,000" in line else 2001
    assert said(capsys, monkeypatch, total, steps)[-1].startswith(line)


def test_what_took_no_time_is_not_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with console.progress(quiet=False) as progress:
        progress.start("images", 1)
        clock.now += 0.5
        progress.advance()
        progress.finish()
        progress.note("a\nb\x1b[31m")
    assert capsys.readouterr().err == "note: a\\nb\\x1b[31m\n"


def test_a_download_counts_in_megabytes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with console.progress(quiet=False) as progress:
        for total, end in (
            (30_000_000, " of 30.0 MB, 1.0 MB/s, 20.0 s left"),
            (None, " MB, 1.0 MB/s"),
        ):
            progress.start("downloading a.pth", total, "bytes")
            clock.now += 10
            progress.advance(10_000_000)
            assert capsys.readouterr().err == f"downloading a.pth: 10.0{end}\n"


def test_nothing_at_all_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(quiet=True) as progress:
        assert isinstance(progress, Silent)
        progress.start("images", 2)
        progress.note("nothing")
        progress.finish()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("rich.console.Console", lambda **_: terminal)
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(console, "FRAME_SECONDS", 0.0)
    with console.progress(quiet=False) as progress:
        progress.start("images [bold]", 4)
        progress.advance(2)
        # Another thread draws the bar.
        while "2 of 4, " not in screen.getvalue():
            time.sleep(0.01)
        progress.note("two [red]folders[/red] are one class")
        progress.finish()
    text = screen.getvalue()
    assert "images [bold]" in text
    assert "2 of 4, " in text
    assert " images [bold]/s" in text
    assert "note: two [red]folders[/red] are one class\n" in text
    assert text.rpartition("\x1b[2K")[2].strip() == "\x1b[?25h"


def test_facts_are_aligned_and_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.say(summary.facts_text([("a", "one"), ("long", "two\nthree\x1b"), ("b", "")]))
    assert capsys.readouterr().out == "a     one\nlong  two\\nthree\\x1b\nb\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min 00 s"),
        (119.7, "2 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_failures_are_listed_up_to_a_limit() -> None:
    rows = [{"path": f"{n}.png\n", "status": "empty", "reason": "no bytes"} for n in range(25)]
    lines = summary.failure_lines(rows)
    assert lines[0] == "left out: 0.png\\n: empty, no bytes"
    assert lines[-1] == "left out: 5 more; in all 25 empty; --json lists them all"
    assert len(lines) == 21
    rows[3]["status"] = "damaged"
    last = "left out: 5 more; in all 24 empty, 1 damaged; --json lists them all"
    assert summary.failure_lines(rows)[-1] == last


def _few_digits(folder: Path) -> Path:
    data = write_demo(folder)
    for one in data.glob("*/*"):
        for path in sorted(one.iterdir())[3:]:
            path.unlink()
    return data


@pytest.mark.slow
def test_the_demo_says_what_to_try_next(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offshelf.jobs.demo.write_demo", _few_digits)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("1. Train on 30 handwritten digits, test on 30 others\n")
    assert "accuracy    " in text
    assert "\noffshelf-demo/photos/china.jpg " in text
    assert "offshelf evaluate offshelf-demo/digits.offshelf offshelf-demo/digits " in text
    assert "offshelf fit YOUR-FOLDER --out my.offshelf " in text
    assert (tmp_path / "offshelf-demo" / "digits.offshelf").is_file()
    assert main(["demo", "--quiet", "--json", "--folder", "two words"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["fit"]["model"] == str(Path("two words", "digits.offshelf"))
    assert document["predict"]["n_ok"] == 5
    assert document["data"] == str(Path("two words", "digits"))


def test_a_demo_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--folder", str(tmp_path / "file"), "--quiet"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'file'}: the demo cannot be")
