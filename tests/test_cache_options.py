"""The cache decides nothing: every option gives the same on a cache that others have filled.

Every option of every command that reads images is here with values to try, or with the reason
why it has nothing to do with what is kept. A new option fails until it is considered.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from offshelf.backbones.backbone import open_backbone
from offshelf.cli.main import build_parser, main
from offshelf.data.decode import Limits, decode_with_facts
from offshelf.engine.contract import EngineOptions
from offshelf.engine.processor import computes_bfloat16
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind, feature_kinds
from offshelf.features.reader import Picture, ReadOptions

# Commands that take features from the store.
COMMANDS = ("fit", "extract", "evaluate", "predict", "classify", "compare", "curve")
SMALL = 64 * 48
VALUES: dict[str, tuple[str, ...]] = {
    "--backbone": ("efficientnet_lite0",),
    "--decode": ("reduced",),
    "--resize": ("crop", "letterbox"),
    "--grey": ("luma", "summed"),
    "--layer": ("stage1",),
    "--pooling": ("max",),
    "--engine": ("openvino", "torch"),
    "--device": ("cpu",),
    "--precision": ("int8", *(("bf16",) if computes_bfloat16() else ())),
    "--batch-size": ("1", "3"),
    "--workers": ("3",),
    "--seed": ("1",),
    "--max-pixels": (str(SMALL - 1), str(SMALL)),
    "--max-memory": ("8M", "1G"),
    "--keep-damaged": ("",),
    "--rehash": ("",),
    "--features": ("stage1+stage2/max",),
    "--input-size": ("96",),
    "--weights": ("random",),
}
OUTPUT, HEAD, DATA = "what is written", "heads, trained anew on features", "which images, or sets"
AGAIN = "runs of the options above, one for each value"
APART = {
    **dict.fromkeys(["--help", "--json", "--quiet", "--debug", "--out", "--profile"], OUTPUT),
    **dict.fromkeys(["--csv", "--top", "--columns", "--sort-into", "--link"], OUTPUT),
    **dict.fromkeys(["--errors", "--errors-page"], OUTPUT),
    **dict.fromkeys(["--pictures", "--write-splits", "--reliability", "--strict", "--yes"], OUTPUT),
    **dict.fromkeys(["--cache-dir", "--cache-size", "--no-download"], "where things are"),
    **dict.fromkeys(["--C", "--calibrate", "--class-weight", "--class-weights"], HEAD),
    **dict.fromkeys(["--head", "--heads"], HEAD),
    **dict.fromkeys(["--normalisation", "--normalisations", "--reduction", "--reductions"], HEAD),
    **dict.fromkeys(["--costs", "--thresholds", "--fit", "--prefer", "--commands"], HEAD),
    **dict.fromkeys(["--reject", "--reject-by", "--samples", "--transfer", "--target"], HEAD),
    **dict.fromkeys(["--classes", "--split", "--splits", "--test-size"], DATA),
    **dict.fromkeys(["--folds", "--groups", "--corrections"], DATA),
    **dict.fromkeys(["--per-class", "--protocol", "--repeats", "--sizes"], DATA),
    **dict.fromkeys(["--backbones", "--layers", "--poolings", "--precisions", "--resizes"], AGAIN),
    **dict.fromkeys(["--input-sizes"], AGAIN),
    **dict.fromkeys(
        ["--concat", "--flips", "--scaling", "--no-normalize"], "networks of their own key"
    ),
    "--train-mode": "never kept",
}


def images_of(folder: Path) -> Path:
    """Write images that each option treats in its own way."""
    draw = np.random.default_rng(0)
    for number, name in enumerate(("plain", "plain", "clear", "large", "grey", "inks", "cut")):
        for label in ("a", "b"):
            place = folder / "train" / label / f"{number}-{name}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            values = draw.integers(0, 256, (48, 64, 4), dtype=np.uint8)
            image = Image.fromarray(values[..., :3])
            if name == "clear":
                Image.fromarray(values).save(place)
            elif name == "large":
                image.resize((1200, 900)).save(place.with_suffix(".jpg"))
            elif name == "grey":
                Image.fromarray(values[..., 0]).save(place)
            elif name == "inks":
                Image.fromarray(values).convert("RGB").convert("CMYK").save(
                    place.with_suffix(".jpg")
                )
            elif name == "cut":
                target = place.with_suffix(".jpg")
                image.resize((200, 150)).save(target, quality=95)
                target.write_bytes(target.read_bytes()[:-3000])
            else:
                image.save(place)
    for label in ("a", "b"):
        place = folder / "test" / label / "0.png"
        place.parent.mkdir(parents=True)
        Image.fromarray(draw.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(place)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images_of(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, which all caches here share: they are no features."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def filled(data: Path, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that other runs have filled: as much as they can, and differently."""
    cache = tmp_path_factory.mktemp("filled")
    (cache / "compiled").symlink_to(compiled)
    taken = ["--keep-damaged"] if "--keep-damaged" in options_of("extract") else []
    for more in ([], ["--pooling", "flatten", "--layer", "stage1"], ["--resize", "crop"]):
        assert main(call(data, cache, *more, *taken)) == 0
    return cache


def call(data: Path, cache: Path, *more: str) -> list[str]:
    out = str(cache / "out.parquet")
    return ["extract", str(data), "--out", out, "--cache-dir", str(cache), "--json", *more]


def options_of(command: str) -> set[str]:
    parser = build_parser()
    (commands,) = (a for a in parser._actions if a.dest == "command")
    choices: dict[str, Any] = dict(commands.choices or {})
    found = (action.option_strings for action in choices[command]._actions)
    return {strings[-1] for strings in found if strings}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_considered(command: str) -> None:
    assert options_of(command) - set(VALUES) - set(APART) == set()


def answer(data: Path, cache: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    """Return status rows, features and notes of a run, without times."""
    capsys.readouterr()
    (cache / "out.parquet").unlink(missing_ok=True)
    code = main(call(data, cache, *more))
    printed = capsys.readouterr()
    if code == 2:
        return code, printed.err
    document = json.loads(printed.out)
    table = pq.read_table(cache / "out.parquet")
    said = [line for line in printed.err.splitlines() if line.startswith("note: ")]
    # What is done once is said once.
    once = ("measuring the ranges", "the network is converted")
    notes = [line for line in said if not any(words in line for words in once)]
    return code, document["failures"], document["n_ok"], table.to_pydict(), notes


TRIED = [(option, value) for option, values in VALUES.items() for value in values]


@pytest.mark.slow
@pytest.mark.parametrize(("option", "value"), TRIED)
def test_an_option_gives_the_same_on_a_filled_cache(
    option: str,
    value: str,
    data: Path,
    filled: Path,
    compiled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if option not in options_of("extract"):
        pytest.skip(f"extract has no {option}")
    fresh, warm = tmp_path / "fresh", tmp_path / "warm"
    shutil.copytree(filled, warm, symlinks=True)
    fresh.mkdir()
    (fresh / "compiled").symlink_to(compiled)
    more = [option, value] if value else [option]
    expected = answer(data, fresh, capsys, *more)
    assert answer(data, warm, capsys, *more) == expected
    # And once more, when all of it is known.
    assert answer(data, fresh, capsys, *more) == expected


# --- what only Python can ask for -----------------------------------------------


def run(
    sources: list[Any], cache: Path, limits: Limits, pooling: str = "avg"
) -> tuple[Extraction, FeatureKind]:
    backbone = open_backbone("efficientnet_lite0")
    kinds = feature_kinds(backbone, ["stage1"], [pooling])
    options = EngineOptions(cache_dir=cache)
    return extract(sources, backbone, kinds, options, ReadOptions(limits=limits)), kinds[0]


LIMITS = {
    "background": Limits(background=(0, 0, 0)),
    "pixels": Limits(max_pixels=SMALL),
    "bytes": Limits(max_bytes=9000),
    "memory": Limits(),
    "damaged": Limits(keep_damaged=True),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pooling"),
    [*((name, "avg") for name in LIMITS), ("pixels", "max"), ("damaged", "max")],
)
def test_limits_hold_for_images_that_are_known(
    name: str, pooling: str, data: Path, compiled: Path, tmp_path: Path
) -> None:
    paths = [str(path) for path in sorted((data / "train").rglob("*.*"))]
    loaded = [Picture(path, Image.open(path)) for path in paths if "cut" not in path]
    for cache in ("filled", "fresh"):
        (tmp_path / cache).mkdir()
        (tmp_path / cache / "compiled").symlink_to(compiled)
    for kept in (Limits(keep_damaged=True), Limits()):
        run([*paths, *loaded], tmp_path / "filled", kept, pooling)
        # The largest values are taken from flattened features.
        run([*paths, *loaded], tmp_path / "filled", kept, "flatten")
    limits = LIMITS[name]
    if name == "memory":
        read = (decode_with_facts(Path(path).read_bytes(), LIMITS["damaged"]) for path in paths)
        limits = Limits(max_memory=min(decoded.facts.memory for decoded in read))
    found, answers = [], []
    for cache in ("filled", "fresh", "fresh"):
        extraction, kind = run([*paths, *loaded], tmp_path / cache, limits, pooling)
        found.append([(row.path, row.status, row.reason) for row in extraction.rows])
        answers.append(extraction.matrix(kind, extraction.ok))
    assert found[0] == found[1] == found[2]
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[1], answers[2])
    if name in {"pixels", "memory", "bytes"}:
        assert {"ok", "too_large"} <= {status for _, status, _ in found[0]}
    if name == "damaged":
        shares = [reason for path, status, reason in found[0] if status == "ok" and "cut" in path]
        assert shares
        assert all(share.endswith(" % of the picture could be read") for share in shares)


@pytest.mark.slow
def test_pillows_own_limit_holds_for_images_that_are_known(
    data: Path, compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compiled").symlink_to(compiled)
    paths = [str(path) for path in sorted((data / "train").rglob("*-large.jpg"))]
    assert [row.status for row in run(paths, tmp_path, Limits())[0].rows] == ["ok", "ok"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    known, _ = run(paths, tmp_path, Limits())
    (tmp_path / "fresh").mkdir()
    fresh, _ = run(paths, tmp_path / "fresh", Limits())
    assert known.rows == fresh.rows
    assert known.rows[0].reason == "more pixels than Pillow opens; make the image smaller"
