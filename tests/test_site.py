"""The documentation as a site: it builds, fetches nothing, its reference is the code's."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import offshelf
from documentation import ROOT

DOCS = ROOT / "docs"
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|srcset|href)=\"?(https?:[^\"\s>]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as ``make docs`` builds it."""
    pytest.importorskip("mkdocstrings", reason="mkdocs is not installed: pip install '.[docs]'")
    pytest.importorskip(
        "material", reason="mkdocs-material is not installed: pip install '.[docs]'"
    )
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False, env=quiet)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_pattern_finds_what_a_page_would_fetch() -> None:
    assert LOADED.findall('<script async src="https://a.org/b.js"></script>') == [
        "https://a.org/b.js"
    ]
    assert LOADED.findall('<a href="https://a.org">a</a><img src="b.png">') == []


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 20
    assert {
        path.name: found for path, text in pages.items() if (found := LOADED.findall(text))
    } == {}
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?https?:", styles) == []


@pytest.mark.slow
def test_the_search_of_a_page_needs_no_server(site: Path) -> None:
    assert (
        (site / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index")
    )
    assert "iframe-worker.js" in (site / "howto" / "sort.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    missing = [
        name
        for name, (module, attribute) in offshelf._NAMES.items()
        if f'id="offshelf.{module}.{attribute}"' not in text and f"<code>{name}</code>" not in text
    ]
    assert missing == []


def test_the_reference_of_commands_is_what_the_parsers_say() -> None:
    name = DOCS / "command_reference.py"
    spec = importlib.util.spec_from_file_location("command_reference", name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert written == module.page(), "run: python docs/command_reference.py"
    assert "`--reject RATE`" in written
