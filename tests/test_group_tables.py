"""Groups of images in commands: kept together in every split, and what is said of them."""

# ruff: noqa: E501 (whole messages)

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import offshelf
from command_run import Run
from offshelf.cli.main import main
from offshelf.data.tables.corrections import Correction, write_corrections
from offshelf.errors import DataError
from offshelf.files import sha256_file
from offshelf.heads.group_folds import together
from offshelf.jobs.compare.grid import ProtocolSettings, folds_of, keep_splits
from offshelf.jobs.setup.labelled_features import table_of
from offshelf.jobs.setup.settings import RunSettings
from offshelf.measurement.splits.group_split import group_split
from offshelf.measurement.splits.protocol import Fold, subsets
from offshelf.model_file.model import load_model

pytestmark = pytest.mark.slow

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a table of 24 empty images of two classes, with more columns."""

    def to_file(**columns: Sequence[str]) -> Path:
        labels = ["a", "b"] * 12
        for number in range(24):
            (tmp_path / f"{number}.png").touch()
        paths = [f"{number}.png" for number in range(24)]
        rows = zip(paths, labels, *columns.values(), strict=True)
        with (tmp_path / "t.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows([("path", "label", *columns), *rows])
        return tmp_path / "t.csv"

    return to_file


SIX = [f"g{number // 4}" for number in range(24)]


@pytest.mark.parametrize("seed", range(8))
def test_a_group_is_on_one_side(write: Write, seed: int) -> None:
    table = table_of(write(group=SIX), RunSettings(seed=seed))
    train, test = (table.rows(split).tolist() for split in ("train", "test"))
    assert not {table.groups[row] for row in train} & {table.groups[row] for row in test}
    assert len(test) in (4, 8)
    assert {Path(p).name: g for p, g in zip(table.paths, table.groups, strict=True)} == {
        f"{number}.png": group for number, group in enumerate(SIX)
    }
    assert {table.labels[row] for row in test} == {"a", "b"}
    assert table.warnings == ("groups: 6 groups of 24 images, kept together in every split",)


def test_the_seed_decides_which_groups_are_tested() -> None:
    groups, labels = np.array(SIX), ["a", "b"] * 12
    found = {tuple(groups[group_split(labels, groups, test_size=0.2, seed=s)]) for s in range(12)}
    assert len(found) > 3


def test_a_class_keeps_images_to_train_whatever_the_share() -> None:
    draw = np.random.default_rng(0)
    for seed in range(40):
        groups = draw.integers(0, 7, 40).astype(np.str_)
        labels = draw.choice(list("abc"), 40).tolist()
        tested = group_split(labels, groups, test_size=0.9, seed=seed)
        assert tested.any()
        assert set(np.array(labels)[~tested]) == set(labels)
        assert not set(groups[tested]) & set(groups[~tested])


def test_groups_are_where_the_option_says(write: Write, tmp_path: Path) -> None:
    data = write(who=SIX)
    other = tmp_path / "other.csv"
    other.write_text(data.read_text().replace("who", "whose"))
    for text in ("who", " WHO", f"{other}:whose"):
        assert len(set(table_of(data, RunSettings(groups=text)).groups)) == 6
    assert len(set(table_of(data, RunSettings(groups=r"(\d)\.png")).groups)) == 10
    assert table_of(write(group=SIX), RunSettings(groups="none")).groups == ()


def test_a_given_split_stays_and_groups_on_both_sides_are_counted(write: Write) -> None:
    split = ["train", "train", "test", "test"] * 3 + ["train"] * 8 + ["test"] * 4
    table = table_of(write(group=SIX, split=split), RunSettings())
    assert (len(table.rows("train")), len(table.rows("test"))) == (14, 10)
    assert table.warnings == (
        "groups: 6 groups of 24 images, kept together in every split that is made here",
        "leaks: 3 groups stand in both splits, which flatters the accuracy",
    )


def test_a_column_of_splits_holds_no_groups(write: Write) -> None:
    table = table_of(write(group=["train"] * 16 + ["test"] * 8), RunSettings())
    assert table.groups == ()
    assert len(table.rows("test")) == 8


WRONG = [
    (["x"] * 24, "all images are of one group, 'x'; to train and to test, at least two are needed, or --groups none"),
    (["", *SIX[1:]], "no 'group' for 1 image of 24: '{folder}/0.png'; name every image's group, or ignore the column with --groups none"),
    (["a", "b"] * 12, "no group can be tested without leaving a class without training images; classes need images of at least two groups, or --groups none"),
]  # fmt: skip


@pytest.mark.parametrize(("groups", "text"), WRONG)
def test_one_line_says_what_is_wrong(write: Write, groups: Sequence[str], text: str) -> None:
    data = write(group=groups)
    with pytest.raises(DataError) as error:
        table_of(data, RunSettings())
    assert str(error.value) == f"{data}: {text.format(folder=data.parent)}"


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ("clip\\d+", "the pattern for groups 'clip\\d+' finds nothing in 24 names of 24, first in '0.png': it has to find a group in every name"),
        ("clip(", "'clip(' is not a regular expression for groups: missing ), unterminated subpattern at position 4"),
        ("[1-9]", "the pattern for groups '[1-9]' finds nothing in 1 name of 24, first in '0.png': it has to find a group in every name"),
        ("pn.", "{data}: all images are of one group, 'png'; to train and to test, at least two are needed, or --groups none"),
        ("", "groups: name a column, FILE:COLUMN or a regular expression; --groups none has none"),
        ("gone/clips.csv:clip", "gone/clips.csv: no such file or folder."),
        ("{data}:clip", "{data}: has no column 'clip'; its columns are 'path', 'label'."),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong_with_a_text(write: Write, groups: str, text: str) -> None:
    data = write()
    with pytest.raises(DataError) as error:
        table_of(data, RunSettings(groups=groups.replace("{data}", str(data))))
    assert str(error.value) == text.replace("{data}", str(data))


def test_one_group_for_each_image_is_said(write: Write) -> None:
    table = table_of(write(), RunSettings(groups=r"\d+"))
    assert table.warnings == ("groups: 24, one for each image, so none keeps images together",)


def test_a_column_that_is_not_there_is_named(write: Write) -> None:
    data = write(who=SIX)
    with pytest.raises(
        DataError, match="has no column 'whom'; its columns are 'path', 'label', 'who'"
    ):
        table_of(data, RunSettings(groups="whom"))


def test_a_class_of_one_group_is_learned_and_never_tested(write: Write) -> None:
    groups = ["a" if row % 2 else f"b{row % 3}" for row in range(24)]
    data = write(group=groups)
    table = table_of(data, RunSettings())
    assert f"{data}: no group to spare, learned but never tested: 'b'" in table.warnings
    assert {table.labels[row] for row in table.rows("test").tolist()} == {"a"}


def test_corrections_keep_groups_beside_their_images(write: Write, tmp_path: Path) -> None:
    data, place = write(group=SIX), tmp_path / "corrections.csv"
    seen = table_of(data, RunSettings())
    wrong = [
        Correction(path=path, sha256=sha256_file(Path(path)), label="", decision=decision)
        for path, decision in zip(seen.paths[:3], ("b", "leave out", "b"), strict=True)
    ]
    write_corrections(wrong, place)
    table = table_of(data, RunSettings(corrections=str(place)))
    known = dict(zip(seen.paths, seen.groups, strict=True))
    assert len(table) == 23
    assert table.groups == tuple(known[path] for path in table.paths)


@pytest.fixture(scope="module")
def of_writers(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of the training scenes with a column of groups."""
    file = tmp_path_factory.mktemp("groups") / "t.csv"
    images = sorted((scenes / "train").rglob("*.png"))
    rows = [(path, path.parent.name, f"w{int(path.stem) // 2}") for path in images]
    with file.open("w", newline="") as handle:
        csv.writer(handle).writerows([("path", "label", "group"), *rows])
    return file


def test_fit_says_and_keeps_what_it_did(of_writers: Path, tmp_path: Path) -> None:
    result = offshelf.fit(of_writers, tmp_path / "m.offshelf", C="auto")
    assert "groups" in str(result)
    assert "3 groups of 18 images, kept together in every split" in str(result)
    assert result.to_json()["groups"] == {"n": 3, "in_both_splits": 0}
    assert load_model(tmp_path / "m.offshelf").data["groups"] == {"n": 3, "in_both_splits": 0}
    alone = offshelf.fit(of_writers, groups="none", C="auto")
    assert alone.to_json()["groups"] is None
    assert "groups" not in alone.model.data


def test_a_kept_head_is_of_its_groups(of_writers: Path) -> None:
    by_column = offshelf.fit(of_writers)
    text = of_writers.read_text().splitlines()
    split = ["split", *("test" if "w2" in line.rsplit(",")[-1] else "train" for line in text[1:])]
    given = of_writers.with_name("given.csv")
    given.write_text("\n".join(f"{a},{b}" for a, b in zip(text, split, strict=True)))
    grouped, apart = offshelf.fit(given), offshelf.fit(given, groups="none")
    assert grouped.model.certainty.to_json() != apart.model.certainty.to_json()
    assert by_column.evaluation.n == grouped.evaluation.n == 6


def test_the_command_says_it(of_writers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, "fit", str(of_writers), "--groups", "none")
    assert "groups" not in run.out
    run = Run(capsys, "fit", str(of_writers))
    assert "groups: 3 groups of 18 images, kept together in every split" in run.err


def test_draws_of_a_curve_take_group_after_group(write: Write) -> None:
    table = table_of(write(group=SIX), RunSettings())
    fold = Fold(table.rows("train"), table.rows("test"))
    for seed in range(5):
        (small, *_), (large, *_) = subsets(table, fold, [2, 4], times=3, seed=seed)
        assert len({table.groups[row] for row in small.train}) == 1
        assert len({table.groups[row] for row in large.train}) == 2
        assert set(small.train) < set(large.train)


def test_curve_says_it_and_chooses_c_where_a_draw_is_of_one_group(of_writers: Path) -> None:
    result = offshelf.curve(of_writers, sizes=[2, 4], repeats=2, C="auto")
    assert "3 groups of 18 images, kept together in every split" in str(result)
    assert result.to_json()["groups"] == {"n": 3, "in_both_splits": 0}


def test_audit_judges_labels_in_folds_of_groups(of_writers: Path) -> None:
    result = offshelf.audit(of_writers)
    assert "3 groups of 18 images, kept together in every split" in str(result)
    assert result.to_json()["groups"] == {"n": 3, "in_both_splits": 0}


def test_images_of_a_group_and_its_copies_are_in_one_fold() -> None:
    copies, groups = np.array([9, 9, 4, 5, 6]), np.array([0, 1, 1, 2, 2])
    joined = together(copies, groups)
    assert joined[0] == joined[1] == joined[2] != joined[3] == joined[4]


def test_splits_of_a_file_that_divide_a_group_are_refused(write: Write, tmp_path: Path) -> None:
    table = table_of(write(group=SIX), RunSettings())
    for groups, number in ((None, 1), ("none", 2)):
        file = tmp_path / f"{number}.json"
        made = ProtocolSettings(kind="k-fold", folds=3, splits_to=file)
        divided = dataclasses.replace(table, groups=()) if groups else table
        folds = folds_of(divided, made, 0)
        keep_splits(table, folds, made, 0)
        read = ProtocolSettings(splits_from=file, groups="group")
        if groups is None:
            assert len(folds_of(table, read, 0)) == 3
        else:
            with pytest.raises(DataError) as error:
                folds_of(table, read, 0)
            assert str(error.value) == (
                f"{file}: split 1 has 5 groups on both sides: 'g0', 'g1', 'g2', 'g4', 'g5'; "
                "--groups none takes it as it is"
            )


@pytest.mark.parametrize("groups", ["who", None])
def test_compare_takes_a_column_of_the_table(write: Write, groups: str | None) -> None:
    data = write(**{groups or "group": SIX})
    table = table_of(data, RunSettings(groups=groups))
    for fold in folds_of(table, ProtocolSettings(kind="k-fold", folds=3, groups=groups), 0):
        sides = [{table.groups[row] for row in side} for side in (fold.train, fold.test)]
        assert not sides[0] & sides[1]


def test_compare_keeps_groups_together_where_it_chooses_c(of_writers: Path) -> None:
    """As the fit that it prints: the same C, of the same folds."""
    found = offshelf.compare(of_writers, C=["auto", 1.0], heads=["ridge"])
    row = next(row for row in found.rows if row.recipe.c == "auto")
    fitted = offshelf.fit(of_writers, head="ridge", C="auto")
    assert (row.c, row.score.accuracy) == (
        (fitted.model.head.parameters["C"],),
        fitted.evaluation.accuracy,
    )
    assert found.protocol == "split drawn by chance: 12 images to train, 6 to test"


def test_compare_has_no_note_on_a_split_that_it_does_not_use(
    of_writers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with of_writers.open(newline="") as handle:
        head, *rows = csv.reader(handle)
    splits = ["train", "test"] * len(rows)
    crossed = of_writers.with_name("crossed.csv")
    with crossed.open("w", newline="") as handle:
        given = ([*row, split] for row, split in zip(rows, splits, strict=False))
        csv.writer(handle).writerows([[*head, "split"], *given])
    words = ["compare", str(crossed), "--heads", "centroid", "--protocol"]
    for protocol, noted in (("given", True), ("k-fold --folds 3", False)):
        assert main([*words, *protocol.split()]) == 0
        run = capsys.readouterr()
        assert ("leaks: 3 groups stand in both splits" in run.err) is noted
        assert "groups: 3 groups of 18 images" in run.err
