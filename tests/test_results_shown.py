"""Every result shows itself: its text is its command's, in a notebook it is short and escaped."""

from __future__ import annotations

import html.parser
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from command_run import Run
from offshelf.card import MOST_CHARACTERS, MOST_LINES, Brief, Card, Line
from offshelf.errors import DataError, MissingExtraError, OffshelfError
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import MOST_ROWS, Facts, Result, blocks_text
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import json_text

Command = tuple[str, str, list[str]]
# The job that a command calls, and its arguments.
IMAGE, IMAGE_2 = "{data}/test/noise/0.png", "{data}/test/noise/1.png"
OUT = ["--out", "{out}"]
COMMANDS: dict[str, Command] = {
    "fit": ("jobs.multilabel.by_labels", "fit", ["{data}"]),
    "evaluate": ("jobs.multilabel.by_labels", "evaluate", ["{model}", "{data}"]),
    "predict": ("jobs.predict", "predict", ["{model}", "{data}/test"]),
    "curve": ("jobs.curve", "learning_curve", ["{data}", "--repeats", "2"]),
    "extract": ("jobs.extract.job", "extract_features", ["{data}", "--out", "{out}/x.parquet"]),
    "audit": ("jobs.audit.job", "audit", ["{data}"]),
    "compare": ("jobs.compare.job", "compare", ["{data}", "--heads", "svm,ridge"]),
    "explain": ("jobs.explain", "explain", ["{model}", IMAGE, "--out", "{out}"]),
    "show": ("jobs.show", "show", ["{model}"]),
    "explain several": ("jobs.explain", "explain_images", ["{model}", IMAGE, IMAGE_2, *OUT]),
    "maps": (
        "jobs.visualise.activation_maps",
        "activation_maps",
        [IMAGE, "-l", "stage1", "-l", "stage3", "--out", "{out}"],
    ),
    "maps --top-images": (
        "jobs.visualise.top_images",
        "top_images",
        ["{data}/test", "-l", "stage1", "--limit", "3", "--out", "{out}"],
    ),
    "filters": (
        "jobs.visualise.first_filters",
        "first_filters",
        ["efficientnet_lite0", "--out", "{out}"],
    ),
    "classify": ("jobs.classify", "classify", [IMAGE, "{data}/test/checks"]),
    "inspect": ("jobs.inspect", "inspect", ["alexnet"]),
    "layers": ("jobs.catalogue", "list_layers", ["efficientnet_lite0"]),
    "backbones": ("jobs.catalogue", "catalogue", []),
    "weights list": ("jobs.catalogue", "list_weights", []),
    "doctor": ("jobs.doctor", "diagnose", []),
    "doctor --clean": ("jobs.cleaning", "clean", ["--dry-run"]),
    "demo": ("jobs.demo", "demo", ["--folder", "{out}/demo"]),
}
# Those that always write a picture, and say where it is.
DRAWN = {"explain", "explain several", "maps", "maps --top-images", "filters"}
SLOW = {
    *("demo", "explain", "explain several", "compare", "classify", "maps", "maps --top-images"),
}


@pytest.fixture(scope="session")
def shown_result(
    scenes: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, pytest.CaptureFixture[str]], tuple[Any, Run, Run]]:
    """Run a command as text and as JSON; return its result and both runs. Each once."""
    known: dict[str, tuple[Any, Run, Run]] = {}
    folder = tmp_path_factory.mktemp("shown")

    def shown(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[Any, Run, Run]:
        if name not in known:
            module, function, arguments = COMMANDS[name]
            filled = [one.format(data=scenes, model=model, out=folder) for one in arguments]
            command = [*name.removesuffix(" several").split(), *filled]
            known[name] = captured(f"offshelf.{module}", function, command, capsys)
        return known[name]

    return shown


def captured(
    module: str, function: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> tuple[Any, Run, Run]:
    """Run *command* twice over one result, which is what *function* returns the first time."""
    results: list[Any] = []
    place = importlib.import_module(module)
    work = getattr(place, function)

    def once(*arguments: Any, **options: Any) -> Any:
        results[:] = results or [work(*arguments, **options)]
        return results[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, function, once)
        text, document = Run(capsys, *command), Run(capsys, *command, "--json")
    return results[0], text, document


def marked(names: Iterable[str]) -> list[Any]:
    return [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in names]


each = pytest.mark.parametrize("name", marked(COMMANDS))


@each
def test_what_is_printed_is_what_the_command_prints(name, shown_result, capsys):
    result, text, _ = shown_result(name, capsys)
    printed = text.out.splitlines(keepends=True)
    if name in DRAWN:
        while printed[-1].startswith("picture: "):
            printed.pop()
    assert "".join(printed) == f"{result}\n"


@each
def test_the_document_is_that_of_the_command(name, shown_result, capsys):
    result, _, run = shown_result(name, capsys)
    document = json.loads(json_text(result.to_json()))
    if name in DRAWN:
        assert not document["out"]
        assert run.document["out"]
        document["out"] = run.document["out"]
    assert run.document == document


@each
def test_a_prompt_shows_at_most_ten_short_lines(name, shown_result, capsys):
    result, _, _ = shown_result(name, capsys)
    lines = repr(result).splitlines()
    assert lines[0] == type(result).__name__
    assert 2 <= len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= MOST_CHARACTERS
    check_text(repr(result))


@each
def test_a_notebook_shows_well_formed_html(name, shown_result, capsys):
    result, _, _ = shown_result(name, capsys)
    page = result._repr_html_()
    seen = tags_of(page)
    assert {"div", "style"} < seen
    assert seen & {"img", "table", "p"}
    # The colours are those of the text around it, whatever theme the notebook has.
    assert not re.search(r"color:(?!inherit|#8888 )|prefers-color-scheme", page)
    assert len(page.splitlines()) < 200
    check_text(page)


@each
def test_rows_become_a_frame(name, shown_result, capsys):
    result, _, _ = shown_result(name, capsys)
    frame = result.to_frame()
    assert len(frame) >= 1 or name == "doctor --clean"
    assert len(frame.columns) >= 2


@each
def test_without_pandas_a_frame_says_what_to_install(name, shown_result, capsys, monkeypatch):
    result, _, _ = shown_result(name, capsys)
    monkeypatch.setitem(sys.modules, "pandas", None)
    said = r"to_frame \(pandas\) needs an optional part: pip install 'offshelf\[frames\]'"
    with pytest.raises(MissingExtraError, match=said):
        result.to_frame()


def test_a_result_without_rows_has_no_frame():
    with pytest.raises(DataError, match=r"Plain: has no rows for a frame; to_json\(\) has all"):
        Plain("a line").to_frame()


@pytest.mark.parametrize("name", marked(["compare", "curve", "evaluate"]))
def test_a_result_with_a_chart_shows_it_below_its_text(name, shown_result, capsys, monkeypatch):
    result, _, _ = shown_result(name, capsys)
    page = result._repr_html_()
    assert page.count('<img alt="') == 1
    assert page.rindex("</table>") < page.index('src="data:image/svg+xml;base64,')

    def fails(*_):
        raise ValueError("no canvas")

    monkeypatch.setattr(type(result), "plot", fails)
    bare = result._repr_html_()
    assert "<img" not in bare
    assert set(page.splitlines()) - set(bare.splitlines()) == {
        line for line in page.splitlines() if "<img" in line
    }


@pytest.mark.parametrize("name", marked(sorted(DRAWN)))
def test_a_result_that_is_a_picture_shows_it(name, shown_result, capsys, tmp_path):
    result, _, _ = shown_result(name, capsys)
    images = result._repr_html_().count('<img alt="')
    assert images == (2 if name in {"maps", "explain several"} else 1)
    if name == "explain several":
        result = result.explanations[1]
    assert result._repr_png_()[:4] == b"\x89PNG"
    assert result.plot().save(tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


def check_text(text: str) -> None:
    for word in ("array(", "\\x", "b'", 'b"', "<offshelf", "object at 0x"):
        assert word not in text


class _Tags(html.parser.HTMLParser):
    VOID = frozenset({"br", "img", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.texts: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def tags_of(page: str) -> set[str]:
    parser = parsed(page)
    return parser.seen


def parsed(page: str) -> _Tags:
    parser = _Tags()
    parser.feed(page)
    parser.close()
    assert parser._open == []
    assert page.isascii()
    return parser


class Plain(Result):
    """A result made of given blocks."""

    def __init__(self, *blocks: Any) -> None:
        self._blocks = blocks

    def facts(self):
        return [("file", "<b>&\n\x1b"), ("n", "1")]

    def blocks(self):
        return self._blocks

    def to_json(self):
        return {}


def numbered(count: int) -> Table:
    columns = (Column("<class>"), Column("share", "percent"))
    return Table("a & b", columns, tuple((f"<i>{n}", n / count) for n in range(count)))


def test_on_a_narrow_page_a_table_scrolls_and_no_figure_or_name_is_broken():
    names = ("living room", "x" * 41, "photographs/of_rooms/kitchens/at home/1.png")
    rows = tuple((name, 0.9273) for name in names)
    command = "offshelf fit --class-weight none"
    facts = Facts((("accuracy", "92.73 % (12.3 ms)"), ("file", names[2])))
    page = Plain(Table("", (Column("class"), Column("share", "percent")), rows), facts, command)
    page = page._repr_html_()
    assert page.count("<table") == page.count('<div class="wide"><table') == 2
    assert ".offshelf .wide{overflow-x:auto;" in page
    assert re.search(r"\.offshelf th,\.offshelf td\{[^}]*white-space:nowrap", page)
    assert "overflow-wrap:anywhere" not in page.split(".offshelf p{")[0]
    assert page.count('<td style="text-align: right; white-space: nowrap">92.73 %</td>') == 3
    assert "<td>living room</td>" in page
    assert f'<td class="long">{"x" * 40}<wbr>x</td>' in page
    broken = "photographs/<wbr>of_<wbr>rooms/<wbr>kitchens/<wbr>at home/1.png"
    assert f'<td class="long">{broken}</td>' in page
    assert "<td>92.73&#160;% (12.3&#160;ms)</td>" in page
    assert f"<td>{broken}</td>" in page
    assert "<p>offshelf fit <span>--class-weight</span> none</p>" in page
    assert ".offshelf span{white-space:nowrap}" in page


def test_names_are_escaped_and_numbers_are_those_of_the_command():
    page = Plain(numbered(3), Facts((("<a>", "x\ny"),)), "<script>1</script>")._repr_html_()
    parser = parsed(page)
    assert not parser.seen & {"i", "script", "a", "b"}
    assert {"<i>1", "33.33 %", "a & b", "<class>", "x\\ny", "<script>1</script>"} <= {*parser.texts}


def test_thousands_of_rows_and_lines_are_cut_with_their_number():
    page = Plain(numbered(3015), "", *(f"line {n}" for n in range(1040)))._repr_html_()
    assert page.count("<tr>") == MOST_ROWS + 1
    assert "... 2,975 more rows; to_frame() and to_json() have all" in page
    assert "... 1,000 more lines; print() shows all" in page
    assert len(Plain(numbered(3015)).to_frame()) == 3015
    assert len(str(Plain(numbered(3015))).splitlines()) == 3018


def test_a_frame_holds_raw_numbers():
    frame = Plain(numbered(4)).to_frame()
    assert list(frame.columns) == ["<class>", "share"]
    assert frame["share"].tolist() == [0.0, 0.25, 0.5, 0.75]


def test_text_cannot_steer_a_terminal():
    assert blocks_text(["a\x1b[1m", Facts((("n", "1"),))]) == "a\\x1b[1m\nn  1"


def test_a_card_is_cut():
    class Long(Card):
        def facts(self):
            return [(f"fact {n}", "x" * 1000) for n in range(30)]

    lines = repr(Long()).splitlines()
    assert len(lines) == MOST_LINES
    assert lines[-1] == "... 22 more lines; print() shows all"
    assert max(map(len, lines)) == MOST_CHARACTERS


def test_dataclasses_keep_what_the_card_gives_them():
    for found in (one for base in (Card, Line, Brief) for one in subclasses(base)):
        parameters = vars(found).get("__dataclass_params__")
        assert parameters is None or not parameters.repr, found


def test_records_in_a_result_are_short_and_hold_no_arrays(fitted, shown_result, capsys):
    found = shown_result("predict", capsys)[0]
    records = [fitted.table, fitted.extraction, fitted.backbone, fitted.model, fitted.evaluation]
    records += [fitted.model.head, fitted.leaks, fitted.model.samples[0], fitted.model.certainty]
    records += [fitted.model.backbone, found.predictions[0], fitted.trust]
    for record in records:
        text = repr(record)
        assert type(record).__name__ in text
        assert len(text.splitlines()) <= MOST_LINES
        assert len(text) <= MOST_LINES * MOST_CHARACTERS
        check_text(text)


def test_records_say_what_they_are(fitted, shown_result, capsys):
    table = repr(fitted.table)
    assert "images   30: 18 train, 12 test" in table
    assert "classes  3: checks, noise, stripes" in table
    assert "network  efficientnet_lite0" in repr(fitted.backbone)
    assert "features  penultimate_avg: 1,280 float32 of an image" in repr(fitted.extraction)
    first = shown_result("predict", capsys)[0].predictions[0]
    assert str(first).startswith(f"{first.path}: {first.label} ")
    assert str(first).endswith(" %")


def subclasses(base: type) -> set[type]:
    below = set(base.__subclasses__())
    return below.union(*(subclasses(one) for one in below))


@pytest.mark.parametrize(("form", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_shows_itself_and_is_saved_by_its_ending(form, begins, fitted_chart, tmp_path):
    assert fitted_chart._repr_png_()[:4] == b"\x89PNG"
    path = fitted_chart.save(tmp_path / f"chart.{form}")
    assert path.read_bytes().startswith(begins)
    assert (
        repr(fitted_chart)
        == f"<Picture {fitted_chart.title}; .save(FILE) writes it as .png or .svg>"
    )
    assert parsed(fitted_chart._repr_html_()).seen == {"div", "style", "img"}


@pytest.fixture
def fitted_chart(shown_result, capsys) -> Picture:
    return shown_result("evaluate", capsys)[0].plot()


def test_a_picture_that_cannot_be_written_says_so(fitted_chart, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OffshelfError, match=r"file.chart\.png: cannot be written"):
        fitted_chart.save(tmp_path / "file" / "chart.png")


def test_awkward_names_of_classes_and_files(tmp_path, model, capsys):
    folder = tmp_path / "<b>&amp;\"'"
    folder.mkdir()
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(folder / "<img src=x>.png")
    (folder / "\n<i>.png").write_bytes(b"")
    result, run, _ = captured(
        "offshelf.jobs.predict", "predict", ["predict", str(model), str(folder)], capsys
    )
    assert run.out == f"{result}\n"
    parser = parsed(result._repr_html_())
    assert not parser.seen & {"b", "i", "img"}
    text = " ".join(parser.texts)
    assert "<img src=x>.png" in text
    assert "\\n<i>.png: empty" in text
