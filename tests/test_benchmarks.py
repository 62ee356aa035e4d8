"""What the benchmarks compute apart from running things, and one short run from end to end."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
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
    from tables import read_rows

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
    from tables import read_rows

    rows = read_rows(make_images(tmp_path, {"a": 8, "b": 12}), seed=0)
    counts = Counter((label, split) for _, label, split in rows)
    assert counts == {("a", "train"): 6, ("a", "test"): 2, ("b", "train"): 9, ("b", "test"): 3}


def test_a_subset_keeps_the_shares() -> None:
    from tables import subset

    rows = [(f"{label}{n}", label, "train") for label in "ab" for n in range(100)]
    rows += [(f"{n}", "a", "test") for n in range(200)]
    taken = subset(rows, 40, seed=3)
    assert len(set(taken)) == len(taken) == 40
    assert Counter(row[1:] for row in taken)["a", "test"] == 20
    assert taken == subset(rows, 40, seed=3) != subset(rows, 40, seed=4)


def test_the_table_has_the_columns_that_fit_reads(tmp_path: Path) -> None:
    from tables import write_table

    write_table(tmp_path / "t.csv", [("z, one", "a", "test"), ("y", "b", "train")])
    with (tmp_path / "t.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert rows == [
        {"path": "y", "label": "b", "split": "train"},
        {"path": "z, one", "label": "a", "split": "test"},
    ]


def test_numbered_images_differ_in_bytes_only() -> None:
    from generated import numbered, pictures

    files = pictures()
    assert len(set(files)) == 8
    first, second = numbered(files[0], 1), numbered(files[0], 2)
    assert first != second
    pixels = [Image.open(io.BytesIO(f)).convert("RGB").tobytes() for f in (files[0], first, second)]
    assert pixels[0] == pixels[1] == pixels[2]


def test_made_up_images_are_as_many_as_asked_for_and_all_distinct(tmp_path: Path) -> None:
    from generated import write_classes, write_images
    from tables import read_rows

    write_images(tmp_path / "many", 1001)
    assert len(list((tmp_path / "many").rglob("*.jpg"))) == 1001
    write_classes(tmp_path / "classes", 60)
    rows = read_rows(tmp_path / "classes", 0)
    assert Counter(split for _, _, split in rows) == {"train": 21, "test": 39}
    assert len({Path(path).read_bytes() for path, _, _ in rows}) == 60


@pytest.mark.parametrize(
    ("layer", "macs"),
    # Worked out by hand: 224 x 224 x 9 x (3 x 64 + 64 x 64) for the first block; the last
    # figure is the one that papers give for the convolutions of VGG16 (15.35 GMAC).
    [("pool1", 1_936_392_192), ("pool5", 15_346_630_656)],
)
def test_multiply_adds_of_vgg16(layer: str, macs: int) -> None:
    from gemm import images_per_second, vgg16_macs

    assert vgg16_macs(layer) == macs
    assert images_per_second(2 * macs / 1e9, layer) == pytest.approx(1)


def test_the_peak_is_the_best_median() -> None:
    from gemm import peak

    assert peak({"numpy 2048": [1.0, 9.0, 2.0], "torch 2048": [3.0, 3.0, 3.0]}) == 3.0


def outcome(rate: float, features: list[list[float]]) -> object:
    from measure import Run
    from sides import Outcome

    return Outcome(rate, 2.0, Run("", 3.0, 400.0), np.array(features, np.float32), "what 1.0")


def test_ratios_are_taken_inside_a_round() -> None:
    from extraction import Results, table
    from gemm import vgg16_macs

    base = [outcome(rate, [[1.0, 0.0]]) for rate in (10.0, 5.0, 8.0)]
    ours = [outcome(rate, [[1.0, 1.0]]) for rate in (30.0, 10.0, 40.0)]
    peaks = [2e-9 * vgg16_macs() * rate for rate in (30.0, 20.0, 40.0)]
    found = Results({"eager": base, "offshelf fp32": ours}, peaks, {"img2vec": "not here"})
    lines = table(found, "pool5").splitlines()
    assert lines[3] == (
        "| offshelf fp32 | 30.0 (10.0 to 40.0) | 3.00 (2.00 to 5.00) | 3.0 (3.0 to 3.0) "
        "| 1.0 (1.0 to 1.0) | 400 (400 to 400) | 0.7071 | 100 (50 to 100) | what 1.0 |"
    )
    assert "30.00 (20.00 to 40.00) img/s of direct convolution" in table(found, "pool5")
    assert lines[-1] == "left out: img2vec: not here"


def test_a_side_that_is_not_installed_is_left_out_with_a_reason() -> None:
    from measure import Failed
    from sides import interpreter

    assert interpreter("eager", {}) == sys.executable
    message = "no/python not here: see benchmarks/peers.sh, or give --peer-python img2vec=PYTHON"
    with pytest.raises(Failed, match=message):
        interpreter("img2vec", {"img2vec": "no/python"})


def test_interpreters_come_from_the_folder_and_by_name(tmp_path: Path) -> None:
    from extraction import pythons

    python = tmp_path / "embetter" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert pythons(tmp_path, ["img2vec=other"]) == {"embetter": str(python), "img2vec": "other"}


def test_random_splits_hold_so_many_of_each_class() -> None:
    from accuracy import random_split

    targets = np.array([0] * 10 + [1] * 20)
    train = random_split(targets, 7, seed=1)
    assert np.bincount(targets[train]).tolist() == [7, 7]
    assert (train == random_split(targets, 7, seed=1)).all()
    assert (train != random_split(targets, 7, seed=2)).any()


def test_the_head_of_a_block_hides_where_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from measure import heading

    given = ["/a/b/x.py", "--data", "../shared/data", "--peers", "/c/d", "--peer-python", "e=/f/g"]
    monkeypatch.setattr(sys, "argv", given)
    title, machine, command = heading("Title").strip().split("\n\n")
    assert (title, "cores" in machine) == ("### Title", True)
    assert command.strip() == (
        "python benchmarks/x.py --data ../shared/data --peers .../d --peer-python e=.../g"
    )


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


@pytest.mark.slow
def test_from_files_to_features_by_the_torch_loop_and_by_offshelf() -> None:
    script = str(BENCHMARKS / "extraction.py")
    options = ["--images", "9", "--rounds", "1", "--sides", "eager", "img2vec", "offshelf fp32"]
    given = ["--peer-python", "img2vec=no/python"]
    command = [sys.executable, script, *options, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith(("| eager", "| offshelf"))]
    assert [row[6] for row in rows] == ["1.0000", "1.0000"]
    assert all(float(row[1]) > 0 for row in rows)
    assert "9 made-up images, 1 rounds; median (range)" in lines
    assert lines[-1].startswith("left out: img2vec: no/python not here")


def test_the_peak_is_measured_on_squares_of_both_libraries() -> None:
    from gemm import rates

    found = rates(sizes=[64], repeat=2)
    assert {name: len(values) for name, values in found.items()} == {"numpy 64": 2, "torch 64": 2}
    assert all(value > 0 for values in found.values() for value in values)


def test_made_up_photographs_are_distinct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import photographs

    small = photographs.picture(1, 120, 90)
    assert small.shape == (90, 120, 3)
    assert small.std() > 20
    monkeypatch.setattr(photographs, "picture", lambda _: small)
    for kind in photographs.KINDS:
        paths = photographs.write(tmp_path, kind, 6)
        assert len({path.read_bytes() for path in paths}) == 6


def test_a_table_of_resizes(monkeypatch: pytest.MonkeyPatch) -> None:
    import photographs

    small = photographs.picture(1, 120, 90)
    monkeypatch.setattr(photographs, "picture", lambda _: small)
    lines = photographs.resize_table(repeat=1).splitlines()
    assert lines[0].startswith("| picture | filter | Pillow, with its copy |")
    assert len(lines) == 2 + 4 * 2


def test_a_table_of_photographs() -> None:
    from photographs import PLAIN, Outcome, table

    shares = dict.fromkeys(("read", "decode", "resize", "network", "store"), 0.2)
    found = {PLAIN: [Outcome(2.0, {})], "offshelf": [Outcome(7.0, shares)]}
    assert table(found).splitlines()[2:] == [
        "| plain loop | 2.0 | 1.00 |  |  |  |  |  |",
        "| offshelf | 7.0 | 3.50 | 20 | 20 | 20 | 20 | 20 |",
    ]


SCRIPTS = sorted(
    path.stem
    for path in BENCHMARKS.glob("*.py")
    if "Parser(__doc__)" in path.read_text(encoding="utf-8")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_bad_arguments_are_one_line(name: str) -> None:
    def said(*words: str) -> tuple[int, str]:
        command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *words]
        found = subprocess.run(command, check=False, capture_output=True, text=True)
        return found.returncode, found.stderr or found.stdout

    code, text = said("--help")
    assert (code, text[:6]) == (0, "usage:")
    wrong = {"--rounds": "0", "--repeat": "-1", "--images": "none", "--data": "no/such/folder"}
    asked = [[word, value] for word, value in wrong.items() if word in text]
    for words in [["--nonsense"], *asked[:1]]:
        code, line = said(*words)
        assert (code, line[:7], line.count("\n")) == (2, "error: ", 1), words


def test_every_benchmark_has_such_arguments() -> None:
    plain = {"arguments", "generated", "measure", "networks", "sides", "tables"}
    sides = {path.stem for path in BENCHMARKS.glob("peer_*.py")} | {"onnxruntime_side"}
    assert {path.stem for path in BENCHMARKS.glob("*.py")} == {*SCRIPTS, *plain, *sides}
