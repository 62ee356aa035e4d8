"""What mistakes cost, as CSV: class by class or pair by pair, and each thing that is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from offshelf.data.tables.cost_table import read_costs
from refusals import refused

CLASSES = ("cat", "dog", "bird")
SQUARE = "true,cat,dog,bird\ncat,0,1,10\ndog,2,0,3\nbird,0.5,4,0\n"
COSTS = ((0, 1, 10), (2, 0, 3), (0.5, 4, 0))
FORMS = "its first row and first column name the classes, or its columns are true, decided and cost"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("costs.csv")


@pytest.mark.parametrize(
    "text",
    [
        SQUARE,
        ",dog,bird,cat\nbird,4,0,0.5\ncat,1,10,0\ndog,0,3,2\n",
        "true\\decided;cat;dog;bird\r\ncat;;1;1e1\r\n\r\nbird;.5;4;0\r\ndog;2.;0;+3\r\n",
        "\ufeffx\tCat\t DOG \tbi rd\ncat\t0\t1\t10\ndog\t2\t\t3\nbird\t0.5\t4\t-0\n",
        '"",cat,dog,bird,,\ncat,0,1,10,,\n"dog",2,0,3,,\nbird,0.5,"4",0,,\n,,,,,\n',
    ],
)
def test_a_square_in_any_order_and_form(text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8", newline="")
    assert read_costs(file).matrix(CLASSES) == COSTS


@pytest.mark.parametrize(
    "text",
    [
        "true,decided,cost\ncat,bird,10\ndog,cat,2\ndog,bird,3\nbird,cat,0.5\nbird,dog,4\n",
        "cost;Decided;TRUE\n10;bird;cat\n2;Cat;dog\n3;bird;dog\n0.5;cat;bird\n4;dog;bird\n0;dog;dog\n",
        "true,predicted,cost\ncat,bird,10\ndog,cat,2\ndog,bird,3\nbird,cat,0.5\nbird,dog,4\n",
        "why,true,decided,cost,\na,cat,bird,10,\n,dog,cat,2,\n,dog,bird,3,\nb,bird,cat,.5,\n,bird,dog,4,\n",
    ],
)
def test_pairs_that_are_not_named_cost_1(text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    assert read_costs(file).matrix(CLASSES) == COSTS


def test_utf_16_is_read(file: Path) -> None:
    file.write_text(SQUARE.replace(",", "\t"), encoding="utf-16")
    assert read_costs(file).matrix(CLASSES) == COSTS


def test_a_class_is_itself_before_one_that_is_like_it(file: Path) -> None:
    file.write_text(",a,A\na,0,2\nA,3,0\n", encoding="utf-8")
    assert read_costs(file).matrix(("A", "a")) == ((0, 3), (2, 0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("true,cat,dog,bird\n", f"has no costs; {FORMS}"),
        ("true,decided,cost\n", f"has no costs; {FORMS}"),
        ("true,cat,dog,bird\ncat,0,1\n", "row 2 has 3 cells, the header has 4"),
        (SQUARE.replace("10", "ten"), "row 2: 'ten' is no number"),
        (SQUARE.replace("10", "nan"), "row 2: 'nan' is no number"),
        (SQUARE.replace("10", "inf"), "row 2: 'inf' is no number"),
        (SQUARE.replace("10", "1_0"), "row 2: '1_0' is no number"),
        (SQUARE.replace("10", "0x10"), "row 2: '0x10' is no number"),
        (
            SQUARE.replace(",", ";").replace("0.5", "0,5"),
            "row 4: '0,5' is no number, written with a point",
        ),
        (SQUARE.replace("10", "-10"), "row 2: a cost is a number from 0 to 1,000,000,000, not -10"),
        (
            SQUARE.replace("10", "1e400"),
            "row 2: a cost is a number from 0 to 1,000,000,000, not 1e400",
        ),
        (SQUARE.replace("bird,0.5", ",0.5"), "row 4 has costs and no class in its first cell"),
        (
            SQUARE.replace("dog,bird", "dog,", 1),
            "column 4 has costs and no class in the first row",
        ),
        (
            "true,decided,cost\ncat,,3\n",
            "row 2 has nothing in the column 'decided'",
        ),
        ("true,decided,cost\ncat,dog,\n", "row 2 has nothing in the column 'cost'"),
        ("true,decided,cost\ncat,dog,x\n", "row 2: 'x' is no number"),
        (
            "true,decided,price\ncat,dog,2\n",
            "has no column 'cost'; a list of costs has the columns true, decided and cost",
        ),
        (
            "label,predicted,cost\ncat,dog,2\n",
            "has no column 'true'; a list of costs has the columns true, decided and cost",
        ),
        (
            "true,predicted,decided,cost\ncat,dog,dog,2\n",
            "has two columns 'decided'; keep one of them",
        ),
        ('true,cat\n"cat,0\n', "row 2 is not valid CSV: a quote is not closed"),
    ],
)
def test_what_a_file_cannot_hold(text: str, said: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    assert refused(lambda: read_costs(file)) == f"costs.csv: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            SQUARE.replace("bird", "brid"),
            "'brid' is none of the classes 'cat', 'dog', 'bird'. Did you mean 'bird'?",
        ),
        (
            "0,1,10\n2,0,3\n0.5,4,0\n",
            f"'2' is none of the classes 'cat', 'dog', 'bird'; {FORMS}.",
        ),
        (
            "true,cat,dog\ncat,0,1\ndog,2,0\n",
            "has no row for 'bird'; each class needs a row and a column",
        ),
        (
            "true,cat,dog,bird\ncat,0,1,10\ndog,2,0,3\n",
            "has no row for 'bird'; each class needs a row and a column",
        ),
        (
            "true,cat,dog\ncat,0,1\ndog,2,0\nbird,0.5,4\n",
            "has no column for 'bird'; each class needs a row and a column",
        ),
        (
            SQUARE.replace("10", ""),
            "row 2: no cost of deciding 'bird' for 'cat'; 1 is that of a usual mistake",
        ),
        (
            SQUARE.replace("bird,0.5,4,0", "bird,0.5,4,7"),
            "row 4: deciding 'bird' for 'bird' is right and costs 0, not 7",
        ),
        (
            SQUARE + "cat,0,1,10\n",
            "rows 2 and 5 both have the cost of deciding 'cat' for 'cat'; keep one of them",
        ),
        (
            "true,cat,dog,bird,dog\ncat,0,1,10,1\ndog,2,0,3,0\nbird,0.5,4,0,4\n",
            "row 2 has twice the cost of deciding 'dog' for 'cat'; keep one of them",
        ),
        (
            "true,decided,cost\ncat,dog,2\nCat,dog,2\n",
            "rows 2 and 3 both have the cost of deciding 'dog' for 'Cat'; keep one of them",
        ),
        (
            "true,decided,cost\ncat,cat,2\n",
            "row 2: deciding 'cat' for 'cat' is right and costs 0, not 2",
        ),
        (
            "true,decided,cost\ncat,dog,0\nbird,dog,0\n",
            "deciding 'dog' costs nothing for any image, so all would be called that; give its "
            "mistakes a cost above 0",
        ),
        (
            "x,cat,dog,bird\ncat,0,0,0\ndog,0,0,0\nbird,0,0,0\n",
            "deciding 'cat' costs nothing for any image, so all would be called that; give its "
            "mistakes a cost above 0",
        ),
        (
            "true,decided,cost\ncat,fish,2\n",
            "'fish' is none of the classes 'cat', 'dog', 'bird'.",
        ),
    ],
)
def test_costs_that_do_not_fit_the_classes(text: str, said: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    assert refused(lambda: read_costs(file).matrix(CLASSES)) == f"costs.csv: {said}"


def test_a_name_that_is_like_several_classes_is_none_of_them(file: Path) -> None:
    file.write_text("true,decided,cost\nBIRD,cat,2\n", encoding="utf-8")
    text = refused(lambda: read_costs(file).matrix(("bird", "Bird", "cat")))
    assert text.startswith("costs.csv: 'BIRD' is none of the classes 'bird', 'Bird', 'cat'.")


def test_what_is_no_file_is_not_waited_for(file: Path) -> None:
    told = f"what mistakes cost is a CSV file: {FORMS}"
    assert refused(lambda: read_costs("none.csv")) == f"none.csv: no such file; {told}"
    file.mkdir()
    assert refused(lambda: read_costs(file)) == f"costs.csv: is no file; {told}"
    os.mkfifo("pipe.csv")
    assert refused(lambda: read_costs("pipe.csv")) == f"pipe.csv: is no file; {told}"
    assert refused(lambda: read_costs("a\nb\0.csv")) == f"a\\nb\\x00.csv: no such file; {told}"
