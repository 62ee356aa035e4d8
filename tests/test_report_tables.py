"""Tables: golden text, raw numbers for programs, and sums that add up."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from offshelf.errors import OffshelfError
from offshelf.measurement.metrics import evaluate
from offshelf.report.tables.result_rows import Column, Table, confusion_table, per_class_table
from offshelf.report.tables.table_formats import format_cell, render

TABLE = Table(
    "Backbones",
    (
        Column("backbone"),
        Column("parameters", "integer"),
        Column("accuracy", "percent"),
        Column("speed", "number", "images/s"),
        Column("weights", "bytes"),
        Column("time", "seconds"),
    ),
    (
        ("vgg16", 138357544, 0.9035175, 12.345, 553430176, 241.7),
        ("lite_0", 4652008, 0.9273032, 96, None, 9.994),
        ("港口", None, 1.0, None, 999, 3725.0),
    ),
)

TEXT = """\
Backbones
backbone   parameters  accuracy  speed (images/s)    weights        time
--------  -----------  --------  ----------------  ---------  ----------
vgg16     138,357,544   90.35 %             12.35   553.4 MB  4 min 02 s
lite_0      4,652,008   92.73 %                96          -      9.99 s
港口                -  100.00 %                 -  999 bytes  1 h 02 min"""

MARKDOWN = """\
**Backbones**

| backbone | parameters | accuracy | speed (images/s) | weights | time |
| --- | ---: | ---: | ---: | ---: | ---: |
| vgg16 | 138,357,544 | 90.35 % | 12.35 | 553.4 MB | 4 min 02 s |
| lite_0 | 4,652,008 | 92.73 % | 96 | - | 9.99 s |
| 港口 | - | 100.00 % | - | 999 bytes | 1 h 02 min |"""

CSV = """\
backbone,parameters,accuracy,speed,weights,time
vgg16,138357544,0.9035175,12.345,553430176,241.7
lite_0,4652008,0.9273032,96,,9.994
港口,,1.0,,999,3725.0"""


@pytest.mark.parametrize(("form", "golden"), [("text", TEXT), ("markdown", MARKDOWN), ("csv", CSV)])
def test_the_forms_are_these(form, golden):
    assert render(TABLE, form) == golden


def test_text_is_the_default_and_needs_no_terminal(monkeypatch):
    for columns in ("20", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert render(TABLE) == TEXT


def test_json_and_csv_give_the_raw_numbers_back():
    document = json.loads(render(TABLE, "json"))
    assert document["title"] == "Backbones"
    assert document["columns"][3] == {"name": "speed", "kind": "number", "unit": "images/s"}
    assert [tuple(row.values()) for row in document["rows"]] == list(TABLE.rows)
    rows = list(csv.DictReader(io.StringIO(render(TABLE, "csv"))))
    assert [row["backbone"] for row in rows] == ["vgg16", "lite_0", "港口"]
    assert sum(float(row["accuracy"]) for row in rows) == sum(row[2] for row in TABLE.rows)


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        (0, "integer", "0"),
        (-1234567, "integer", "-1,234,567"),
        (0.0, "percent", "0.00 %"),
        (1, "percent", "100.00 %"),
        (0.99996, "percent", "100.00 %"),
        (3.14159, "number", "3.142"),
        (1234, "number", "1,234"),
        (0.00001234, "number", "1.234e-05"),
        (0, "bytes", "0 bytes"),
        (1000, "bytes", "1.0 kB"),
        (999_949, "bytes", "999.9 kB"),
        (999_950, "bytes", "1.0 MB"),
        (5 * 10**9, "bytes", "5.0 GB"),
        (2 * 10**15, "bytes", "2,000.0 TB"),
        (0.0, "seconds", "0.00 s"),
        (9.995, "seconds", "10.0 s"),
        (59.94, "seconds", "59.9 s"),
        (59.96, "seconds", "1 min 00 s"),
        (3599.6, "seconds", "1 h 00 min"),
        (None, "percent", "-"),
        ("a\x1b[31m\nb\udcff", "text", "a\\x1b[31m\\nb\\xff"),
    ],
)
def test_cells_read_like_this(cell, kind, text):
    assert format_cell(cell, kind) == text


HOSTILE = Table(
    "Names",
    (Column("class"),),
    (("=1+1",), ("a|b",), ('say "hi", you',), ("two\r\nlines",), ("one\rreturn",), ("<b>_x_</b>",)),
)


def test_odd_names_survive_the_forms_for_programs():
    names = [row[0] for row in HOSTILE.rows]
    read = list(csv.reader(io.StringIO(render(HOSTILE, "csv"), newline="")))
    assert read == [["class"], *[[name] for name in names]]
    assert [row["class"] for row in json.loads(render(HOSTILE, "json"))["rows"]] == names


def test_odd_names_cannot_break_a_row_for_people():
    assert render(HOSTILE, "markdown").splitlines()[4:] == [
        "| =1+1 |",
        r"| a\|b |",
        '| say "hi", you |',
        r"| two\\r\\nlines |",
        r"| one\\rreturn |",
        r"| \<b\>\_x\_\</b\> |",
    ]
    assert len(render(HOSTILE, "text").splitlines()) == 3 + len(HOSTILE.rows)


def test_a_name_that_is_not_utf8_can_be_written_as_json():
    text = render(Table("", (Column("class"),), (("caf\udce9",),)), "json")
    assert text.encode()
    assert json.loads(text)["rows"] == [{"class": "caf\\xe9"}]


def test_a_table_without_title_or_rows():
    table = Table("", (Column("class"), Column("images", "integer")), ())
    assert render(table) == "class  images\n-----  ------"
    assert render(table, "markdown") == "| class | images |\n| --- | ---: |"
    assert render(table, "csv") == "class,images"
    assert json.loads(render(table, "json"))["rows"] == []


def test_an_unknown_form_is_refused():
    with pytest.raises(OffshelfError) as caught:
        render(TABLE, "markdwon")
    assert str(caught.value) == (
        "unknown form 'markdwon': the forms are text, markdown, csv, json, html, latex. "
        "Did you mean 'markdown'?"
    )


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ((Column("a"), Column("a")), (), "table 'T': two columns of one name"),
        ((Column("a"),), (("x", "y"),), "table 'T': a row of 2 cells: ('x', 'y')"),
        ((Column("a", "integer"),), ((1.5,),), "column 'a': 1.5 is no integer"),
        ((Column("a", "integer"),), ((True,),), "column 'a': True is no integer"),
        ((Column("a", "percent"),), ((float("nan"),),), "column 'a': nan is no percent"),
        ((Column("a", "number"),), (("1",),), "column 'a': '1' is no number"),
        ((Column("a"),), ((1,),), "column 'a': 1 is no text"),
    ],
)
def test_a_table_that_does_not_fit_its_columns_cannot_be_built(columns, rows, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        Table("T", columns, rows)
    assert str(caught.value) == message


def test_a_column_of_unknown_kind_cannot_be_built():
    with pytest.raises(ValueError, match="column 'a': unknown kind 'share'"):
        Column("a", "share")  # type: ignore[arg-type]


TARGETS = np.repeat([0, 1, 2], [4, 3, 0])
PREDICTIONS = np.array([0, 0, 1, 2, 1, 0, 0])
EVALUATION = evaluate(TARGETS, PREDICTIONS, ("coast", "forest", "living_room"))


def test_the_per_class_table_is_this_and_adds_up():
    table = per_class_table(EVALUATION)
    assert render(table) == (
        "Per class\n"
        "class        images  precision   recall       F1\n"
        "-----------  ------  ---------  -------  -------\n"
        "coast             4    50.00 %  50.00 %  50.00 %\n"
        "forest            3    50.00 %  33.33 %  40.00 %\n"
        "living_room       0     0.00 %   0.00 %   0.00 %"
    )
    images, recalls = [row[1] for row in table.rows], [row[3] for row in table.rows]
    assert sum(images) == EVALUATION.n == 7
    assert sum(n * r for n, r in zip(images, recalls, strict=True)) == pytest.approx(
        EVALUATION.correct
    )


def test_the_most_confused_pairs_are_these_and_add_up():
    table = confusion_table(EVALUATION, None)
    assert render(table) == (
        "Most confused\n"
        "true    predicted    images  of true class\n"
        "------  -----------  ------  -------------\n"
        "forest  coast             2        66.67 %\n"
        "coast   forest            1        25.00 %\n"
        "coast   living_room       1        25.00 %"
    )
    assert sum(row[2] for row in table.rows) == EVALUATION.n - EVALUATION.correct
    assert confusion_table(EVALUATION, 1).rows == table.rows[:1]


def test_nothing_confused_gives_no_rows():
    assert confusion_table(evaluate(TARGETS, TARGETS, ("a", "b", "c"))).rows == ()
