"""What the benchmarks compute apart from running things: tables, subsets, made-up images."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def make_images(root: Path, folders: dict[str, int]) -> Path:
    for name, count in folders.items():
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.jpg").touch()
    return root


def test_a_given_split_is_kept_and_class_names_are_one(tmp_path: Path) -> None:
    from against_plain_loop import read_rows

    folders = {"train/Living Room": 2, "train/coast": 1, "val/livingroom": 3, "val/Coast": 1}
    rows = read_rows(make_images(tmp_path, folders), seed=0)
    counts = Counter((label, split) for _, label, split in rows)
    assert counts == {
        ("livingroom", "train"): 2,
        ("livingroom", "test"): 3,
        ("coast", "train"): 1,
        ("coast", "test"): 1,
    }


def test_without_a_split_one_image_of_four_is_for_the_test(tmp_path: Path) -> None:
    from against_plain_loop import read_rows

    rows = read_rows(make_images(tmp_path, {"a": 8, "b": 12}), seed=0)
    counts = Counter((label, split) for _, label, split in rows)
    assert counts == {("a", "train"): 6, ("a", "test"): 2, ("b", "train"): 9, ("b", "test"): 3}


def test_a_subset_keeps_the_shares() -> None:
    from against_plain_loop import subset

    rows = [(f"{label}{n}", label, "train") for label in "ab" for n in range(100)]
    rows += [(f"{n}", "a", "test") for n in range(200)]
    taken = subset(rows, 40, seed=3)
    assert len(set(taken)) == len(taken) == 40
    assert Counter(row[1:] for row in taken)["a", "test"] == 20
    assert taken == subset(rows, 40, seed=3) != subset(rows, 40, seed=4)


def test_the_table_has_the_columns_that_fit_reads(tmp_path: Path) -> None:
    from against_plain_loop import write_table

    write_table(tmp_path / "t.csv", [("z, one", "a", "test"), ("y", "b", "train")])
    with (tmp_path / "t.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert rows == [
        {"path": "y", "label": "b", "split": "train"},
        {"path": "z, one", "label": "a", "split": "test"},
    ]


def test_numbered_images_differ_in_bytes_only() -> None:
    from memory import numbered, pictures

    files = pictures()
    assert len(set(files)) == 8
    first, second = numbered(files[0], 1), numbered(files[0], 2)
    assert first != second
    pixels = [Image.open(io.BytesIO(f)).convert("RGB").tobytes() for f in (files[0], first, second)]
    assert pixels[0] == pixels[1] == pixels[2]


def test_a_run_is_measured() -> None:
    # In a process of its own: a command counts what its starter holds, and pytest holds much.
    code = """
from measure import run, sys
small, large = (run([sys.executable, "-c", code]) for code in ("print('said')", "b'1' * 2**28"))
print(repr(small.output), 0 < small.seconds < 60, 200 < large.peak - small.peak < 400)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert done.stdout == r"'said\n' True True" + "\n"


def test_a_failed_run_ends_the_benchmark_with_its_words() -> None:
    from measure import run

    with pytest.raises(SystemExit, match="went wrong"):
        run([sys.executable, "-c", "raise SystemExit('went wrong')"])
