"""A call of the command line in this process, as tests of commands make it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from offshelf.cli.main import main


class Run:
    """One call of the command line: its exit code and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        try:
            self.code = main([str(one) for one in arguments])
        except SystemExit as left:
            self.code = int(left.code or 0)
        self.out, self.err = capsys.readouterr()

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output, which holds nothing else."""

        def refuse(word: str) -> None:
            raise AssertionError(word)

        found = json.loads(self.out, parse_constant=refuse)
        assert isinstance(found, dict)
        return found
