"""Ctrl-C ends a command also where a library swallowed it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

import pytest

from offshelf.cli import console, interrupt
from offshelf.cli.main import INTERRUPTED, main

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def press() -> None:
    """Press Ctrl-C where nobody lets it through."""
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


@posix
@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_swallowed_interrupt_is_raised_by_the_next_progress(
    monkeypatch: pytest.MonkeyPatch, quiet: bool, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with interrupt.heard(), console.progress(quiet) as progress:
        progress.start("images", 3)
        progress.advance()
        press()
        with pytest.raises(KeyboardInterrupt):
            progress.advance()
        progress.finish()


@posix
def test_a_command_ends_with_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: object) -> int:
        with console.progress(quiet=True) as progress:
            press()
            progress.advance()
        return 0

    monkeypatch.setattr("offshelf.cli.backbones.run", work)
    assert main(["backbones"]) == INTERRUPTED
    said = capsys.readouterr().err
    assert said == "interrupted: what was done is kept; run the same command to go on\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    interrupt.check()


def test_another_handler_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    monkeypatch.setattr(signal, "getsignal", lambda _: "another's")
    monkeypatch.setattr(signal, "signal", lambda *own: heard.append(own))
    with interrupt.heard():
        assert heard == []


def test_other_threads_install_nothing() -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with interrupt.heard():
                interrupt.check()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
