"""Standard output and error in every state: closed, full, gone, of another encoding; Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from offshelf.cli import main
from offshelf.interrupt import TerminatedError

COMMAND = [sys.executable, "-m", "offshelf.cli.main"]
linux = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


def offshelf(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, encoding="utf-8", check=False, **settings
    )


def shell(line: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which "$@" is offshelf with *arguments*."""
    return subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND, *arguments], capture_output=True, text=True, check=False
    )


@posix
@pytest.mark.parametrize("words", [["--help"], ["backbones"], ["backbones", "--json"]])
def test_a_reader_that_goes_away_is_no_error(words: list[str]) -> None:
    result = shell('{ "$@"; echo "code $?" >&2; } | true', *words)
    assert result.stderr in ("code 0\n", "")


@linux
@pytest.mark.parametrize("words", [["--help"], ["backbones"], ["backbones", "--json"]])
def test_a_full_disk_is_one_line(words: list[str]) -> None:
    result = shell('"$@" > /dev/full', *words)
    assert result.stderr == "error: output: No space left on device\n"
    assert result.returncode == 2


@pytest.mark.slow
@posix
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_good_as_the_null_device(tmp_path: Path, redirection: str) -> None:
    result = shell(f'"$@" {redirection}', "backbones", "--cache-dir", str(tmp_path))
    assert result.returncode == 0
    assert result.stderr == ""
    result = shell(f'"$@" {redirection}', "fit", str(tmp_path / "nowhere"))
    assert result.returncode == 2
    assert result.stderr == "" if "2>" in redirection else "no such file" in result.stderr


@pytest.mark.slow
@posix
def test_a_model_is_whole_when_standard_output_was_closed(tmp_path: Path, scenes: Path) -> None:
    model = str(tmp_path / "m.offshelf")
    result = shell('"$@" >&-', "fit", str(scenes), "--out", model, "--quiet")
    assert (result.returncode, result.stderr) == (0, "")
    assert offshelf("predict", model, str(scenes / "test"), "--quiet").returncode == 0


def test_what_is_redirected_is_utf8_under_any_encoding(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = offshelf("fit", str(tmp_path / "Füchse"), env=environment)
    assert "Füchse: no such file or folder" in result.stderr
    assert result.returncode == 2


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A data set whose folder is no UTF-8, with a class name that would redden a terminal."""
    folder = tmp_path_factory.mktemp("odd") / "caf\udce9"
    shutil.copytree(scenes, folder)
    for split in ("train", "test"):
        (folder / split / "noise").rename(folder / split / "\x1b[31mnoise, \n")
    return folder


@pytest.mark.slow
@posix
def test_names_that_are_no_utf8(tmp_path: Path, odd: Path) -> None:
    model = str(tmp_path / "m.offshelf")
    result = offshelf("fit", str(odd), "--out", model)
    assert result.returncode == 0, result.stderr
    assert "\\x1b[31mnoise, \\n" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    text = offshelf("predict", model, str(odd / "test"))
    assert "caf\\xe9" in text.stdout
    assert "\x1b" not in text.stdout
    table = offshelf("predict", model, str(odd / "test"), "--csv")
    assert "caf\\xe9" in table.stdout
    document = json.loads(offshelf("predict", model, str(odd / "test"), "--json").stdout)
    paths = [row["path"] for row in document["predictions"]]
    assert all("caf\\xe9" in path for path in paths)
    assert "\x1b[31mnoise, \n" in document["classes"]


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    ("sent", "word", "code"),
    [
        pytest.param(
            signal.SIGINT,
            "interrupted",
            130,
            marks=pytest.mark.skipif(
                signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
                reason="a shell started this in the background, where Ctrl-C is ignored",
            ),
        ),
        (signal.SIGTERM, "terminated", 143),
        pytest.param(
            signal.SIGHUP,
            "the terminal has gone",
            129,
            marks=pytest.mark.skipif(
                signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
                reason="nohup started this, which ignores that the terminal has gone",
            ),
        ),
    ],
)
def test_a_command_that_is_stopped_says_one_line(
    tmp_path: Path, sent: signal.Signals, word: str, code: int
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        for number in range(1500):
            shade = (number % 251, number // 251, ord(name))
            Image.new("RGB", (8, 8), shade).save(data / name / f"{number}.bmp")
    words = ["extract", data, "--out", tmp_path / "f.parquet", "--cache-dir", cache]
    with subprocess.Popen(
        [*COMMAND, *words, "--engine", "torch", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _wait_for_work(process, cache)
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    lines = [line for line in err.splitlines() if not line.startswith(("note:", "images:"))]
    assert lines == [f"{word}: what was finished until now is kept; run the same command to go on"]
    assert (process.returncode, out) == (code, "")
    assert not (tmp_path / "f.parquet").exists()
    assert list(cache.rglob("part-*.parquet")), "what was computed was not kept"


def test_a_terminal_that_has_gone_cannot_hide_why_a_command_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: object) -> int:
        try:
            raise TerminatedError(signal.SIGHUP)
        finally:
            # As when the bar of progress is taken back.
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(main, "_run", run)
    assert main.main(["doctor"]) == 129
    line = (
        "the terminal has gone: what was finished until now is kept; run the same command to go on"
    )
    assert capsys.readouterr().err == f"{line}\n"


def _wait_for_work(process: subprocess.Popen[str], cache: Path) -> None:
    """Wait until so many images are claimed that some have been computed."""
    for _ in range(3000):
        claimed = sum(path.stat().st_size for path in cache.rglob("*.claim"))
        if process.poll() is not None or claimed > 33 * 64:
            return
        time.sleep(0.1)
    pytest.fail("no image was computed in five minutes")
