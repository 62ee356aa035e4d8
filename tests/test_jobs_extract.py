"""Features as a Parquet file: which data, which columns, aligned rows, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import offshelf
from command_run import Run
from offshelf.data.folders import image_files
from offshelf.data.tables.image_table import read_table
from offshelf.engine.contract import EngineOptions
from offshelf.errors import DataError, LayerError, OffshelfError
from offshelf.feature_sets.feature_set import Joining
from offshelf.jobs.extract import feature_file, job
from offshelf.jobs.extract.job import extract_features
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.progress import Silent

# Compiles nothing, so it is the quicker engine for a few images.
TORCH = RunSettings(EngineOptions("torch"))
LEDGER = ["path", "label", "split", "status", "reason", "sha256"]


@pytest.fixture
def photos(tmp_path: Path, scenes: Path) -> Path:
    """A folder of images without classes: three good ones, an empty and a cut one between."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, source in enumerate(sorted((scenes / "test" / "noise").glob("*.png"))[:3]):
        shutil.copy(source, folder / f"{number}.png")
    (folder / "0-empty.png").touch()
    (folder / "1-cut.png").write_bytes((folder / "0.png").read_bytes()[:200])
    return folder


def test_a_labelled_folder_keeps_classes_and_split(tmp_path: Path, scenes: Path) -> None:
    result = extract_features(scenes, tmp_path / "f.parquet")
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.column_names == [*LEDGER, "penultimate_avg"]
    assert table["label"].to_pylist() == list(result.table.labels)
    assert table["split"].to_pylist() == ["train"] * 18 + ["test"] * 12
    assert table.schema.field("penultimate_avg").type == pa.list_(pa.float32(), 1280)
    document = result.to_json()
    assert {
        "n_ok": 30,
        "n_failed": 0,
        "failures": [],
        "backbone": "efficientnet_lite0",
        "trained_weights": True,
        "out": str(tmp_path / "f.parquet"),
    }.items() <= document.items()
    rate = document["images_per_second"]
    assert rate > 0 if document["computed"] else rate is None
    layer = document["layers"][0]
    assert (layer["name"], layer["pooling"], layer["dimension"]) == ("penultimate", "avg", 1280)


def test_the_speed_of_a_second_run_is_of_what_it_computed(scenes: Path, tmp_path: Path) -> None:
    run = RunSettings(EngineOptions(cache_dir=tmp_path))
    images = sorted((scenes / "train").rglob("*.png"))
    extract_features(images[:10], run=run)
    found = extract_features([*images, images[0]], run=run).extraction
    seconds = found.seconds["extract"]
    assert found.computed == len(images) - 10
    assert found.images_per_second == pytest.approx(found.computed / seconds)
    other = RunSettings(EngineOptions(cache_dir=tmp_path / "other"))
    every = extract_features([*images, images[0]], run=other).extraction
    assert every.images_per_second == pytest.approx(len(every.rows) / every.seconds["extract"])


def test_rows_stay_aligned_around_images_that_fail(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "f.parquet"
    result = extract_features(photos, out)
    rows = pq.read_table(out).to_pylist()
    assert [Path(row["path"]).name for row in rows] == [
        "0-empty.png",
        "0.png",
        "1-cut.png",
        "1.png",
        "2.png",
    ]
    assert [row["status"] for row in rows] == ["empty", "ok", "truncated", "ok", "ok"]
    assert [row["penultimate_avg"] is None for row in rows] == [True, False, True, False, False]
    assert [row["reason"] != "" for row in rows] == [True, False, True, False, False]
    kind = result.kinds[0]
    np.testing.assert_array_equal(
        np.array([row["penultimate_avg"] for row in rows if row["status"] == "ok"], np.float32),
        result.extraction.matrix(kind, result.extraction.ok),
    )


def test_pandas_reads_it(tmp_path: Path, photos: Path) -> None:
    extract_features(photos, tmp_path / "f.parquet")
    frame = pd.read_parquet(tmp_path / "f.parquet")
    matrix = np.stack(frame.loc[frame.status == "ok", "penultimate_avg"])
    assert (matrix.shape, matrix.dtype) == ((3, 1280), np.float32)
    assert frame.loc[frame.status != "ok", "penultimate_avg"].isna().all()


def test_more_rows_than_are_written_at_a_time(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(photos, tmp_path / "whole.parquet")
    monkeypatch.setattr(feature_file, "MAX_BYTES", 2 * 4 * 1280)
    extract_features(photos, tmp_path / "pieces.parquet")
    whole, pieces = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "pieces"))
    assert whole.equals(pieces)


def test_nothing_but_broken_images_still_gives_a_row_each(tmp_path: Path, photos: Path) -> None:
    for path in photos.glob("?.png"):
        path.write_bytes(b"no image")
    result = extract_features(photos, tmp_path / "f.parquet")
    table = pq.read_table(tmp_path / "f.parquet")
    assert (result.to_json()["n_ok"], result.to_json()["n_failed"], len(table)) == (0, 5, 5)
    assert table["penultimate_avg"].null_count == 5


def test_several_layers_and_poolings_in_one_pass(tmp_path: Path, photos: Path) -> None:
    result = extract_features(
        photos,
        tmp_path / "f.parquet",
        layers=["stage5", "penultimate", "stage5"],
        poolings=["max", "gem"],
        run=TORCH,
    )
    names = ["stage5_max", "stage5_gem", "penultimate_max", "penultimate_gem"]
    assert pq.read_table(tmp_path / "f.parquet").column_names == [*LEDGER, *names]
    assert result.extraction.computed == 3
    assert [layer["dimension"] for layer in result.to_json()["layers"]] == [112, 112, 1280, 1280]


def test_one_image_and_no_file(photos: Path) -> None:
    result = extract_features(photos / "0.png")
    assert (result.to_json()["n_ok"], result.to_json()["out"]) == (1, None)
    assert result.table.labels == ("",)


def test_a_name_that_is_no_utf8(tmp_path: Path, photos: Path) -> None:
    shutil.copy(photos / "0.png", photos / "caf\udce9.png")
    extract_features(photos, tmp_path / "f.parquet")
    paths = pq.read_table(tmp_path / "f.parquet")["path"].to_pylist()
    assert str(photos / "caf\\xe9.png") in paths


def test_a_folder_of_folders_of_photographs(tmp_path: Path, photos: Path) -> None:
    shutil.move(photos, tmp_path / "2024" / "photos")
    result = extract_features(tmp_path / "2024")
    assert set(result.table.labels) == {"photos"}
    assert set(result.table.splits) == {"test"}


def test_images_beside_folders_are_all_taken_and_it_is_said(tmp_path: Path, photos: Path) -> None:
    shutil.copytree(photos, photos / "more")
    told = Silent()
    result = extract_features(photos, progress=told)
    assert len(result.table) == 10
    assert set(result.table.labels) == {""}
    assert any("images lie beside its folders" in note for note in told.notes)
    assert result.to_json()["warnings"] == list(result.table.warnings)


def test_classes_without_a_split_get_the_split_of_fit(scenes: Path) -> None:
    result = extract_features(scenes / "train")
    assert set(result.table.splits) == {"train", "test"}
    assert result.table.classes == ("checks", "noise", "stripes")


@pytest.mark.parametrize("header", ["path,label", "path"])
def test_a_table_with_and_without_labels(tmp_path: Path, photos: Path, header: str) -> None:
    ends = (",x", ",y", ",x", ",y") if "label" in header else ("",) * 4
    names = ("0.png", "1.png", "2.png", "0-empty.png")
    rows = [f"photos/{name}{end}" for name, end in zip(names, ends, strict=True)]
    (tmp_path / "data.csv").write_text("\n".join([header, *rows]))
    result = extract_features(tmp_path / "data.csv")
    assert result.table.classes == (("x", "y") if "label" in header else ())
    assert len(result.table) == 4


def test_a_broken_labelled_folder_keeps_its_message(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes / "train", data / "train")
    shutil.copytree(scenes / "test", data / "test")
    shutil.copytree(scenes / "test" / "noise", data / "test" / "fog")
    with pytest.raises(DataError, match=r"1 class is only in test.*'fog'"):
        extract_features(data)
    shutil.copytree(data / "test", data / "Test ")
    with pytest.raises(DataError, match="both mean test; rename or remove one"):
        extract_features(data)


WRONG = [
    ("nowhere", {}, "nowhere: no such file or folder"),
    ("photos", {"layers": ["penultimat"]}, "no layer 'penultimat'. Did you mean 'penultimate'?"),
    ("photos", {"poolings": ["mean"]}, "no pooling 'mean': flatten, avg, max, gem, pyramid"),
]


@pytest.mark.parametrize(("data", "settings", "text"), WRONG)
def test_wrong_input(
    tmp_path: Path, photos: Path, data: str, settings: dict[str, list[str]], text: str
) -> None:
    with pytest.raises((DataError, LayerError)) as caught:
        extract_features(tmp_path / data, tmp_path / "f.parquet", **settings)
    assert text in str(caught.value)
    assert not (tmp_path / "f.parquet").exists()


def test_a_file_that_is_not_ours_is_never_replaced(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "offshelf.jobs.setup.labelled_features.extract", lambda *_: pytest.fail("work was done")
    )
    table = tmp_path / "data.parquet"
    pd.DataFrame({"path": ["photos/0.png"]}).to_parquet(table)
    image = photos / "0.png"
    before = image.read_bytes(), table.read_bytes()
    for data, out, text in (
        (photos, photos, "photos: is a folder; name a file such as features.parquet"),
        (photos, image, "0.png: exists and is no Parquet file, so it is not replaced"),
        (table, tmp_path / "." / "data.parquet", "is DATA itself, so it is not replaced"),
    ):
        with pytest.raises(DataError, match=text):
            extract_features(data, out)
    assert (image.read_bytes(), table.read_bytes()) == before


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "f.parquet"
    extract_features(photos, out)
    before = out.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(DataError, match=r"f.parquet: cannot be written \(No space left"):
        extract_features(photos, out)
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_random_weights_are_marked(photos: Path) -> None:
    told = Silent()
    settings = FeatureSettings(weights="random")
    result = extract_features(photos, features=settings, run=TORCH, progress=told)
    assert result.to_json()["trained_weights"] is False
    assert any("UNTRAINED" in note for note in told.notes)


def test_each_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for split in ("train", "test"):
        for label in ("a", "b"):
            for number in range(2):
                place = tmp_path / split / label / "deep" / f"{number}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8)).save(place)
    own, listed = os.scandir, list[str]()

    def scandir(folder: Any) -> Any:
        listed.append(str(folder))
        return own(folder)

    monkeypatch.setattr(image_files.os, "scandir", scandir)
    table = job._table(tmp_path, RunSettings())
    with image_files.listed_once():
        listed.clear()
        assert job._table(tmp_path, RunSettings()) == table
    assert len(table) == 8
    assert sorted(listed) == sorted(
        str(path) for path in (tmp_path, *tmp_path.rglob("*")) if path.is_dir()
    )
    listed.clear()
    assert read_table(tmp_path).paths == table.paths
    assert len(listed) == len(set(listed))
    # Nothing is kept for the next time.
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "a" / "new.png")
    assert len(read_table(tmp_path)) == 9


def test_the_listing_of_extract_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[bool] = []

    def table(*_: Any) -> Any:
        seen.append(image_files._LISTINGS.get() is not None)
        raise DataError("enough")

    monkeypatch.setattr(job, "_table", table)
    with pytest.raises(DataError, match="enough"):
        job.extract_features(tmp_path)
    assert seen == [True]


# --- feature sets -------------------------------------------------------------


def test_a_feature_set_is_one_column_of_joined_rows(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "f.parquet"
    settings = FeatureSettings(features="penultimate+stage6/pyramid")
    result = extract_features(photos, out, features=settings, run=TORCH)
    single = extract_features(
        photos, layers=["penultimate", "stage6"], poolings=["avg", "pyramid"], run=TORCH
    )
    table = pq.read_table(out)
    assert table.column_names == [*LEDGER, "features"]
    assert table.schema.field("features").type == pa.list_(pa.float32(), 1280 + 5 * 192)
    rows = [row for row in table["features"].to_pylist() if row is not None]
    assert [row is None for row in table["features"].to_pylist()] == [
        True,
        False,
        True,
        False,
        False,
    ]
    kinds = single.kinds[0], single.kinds[3]
    parts = [single.extraction.matrix(kind, single.extraction.ok) for kind in kinds]
    expected = Joining(("l2", "l2")).join(parts)
    np.testing.assert_array_equal(np.array(rows, np.float32), expected)
    frame = result.to_frame()
    assert list(frame.columns) == table.column_names
    np.testing.assert_array_equal(np.stack(frame.loc[frame.status == "ok", "features"]), expected)


def test_what_the_file_of_a_feature_set_is_of(tmp_path: Path, photos: Path) -> None:
    text = "efficientnet_lite0:penultimate+resnet18:layer4/max/sqrt"
    settings = FeatureSettings(features=text, weights="random")
    told = Silent()
    out = tmp_path / "f.parquet"
    result = extract_features(photos, out, features=settings, run=TORCH, progress=told)
    described = json.loads(pq.read_schema(out).metadata[b"offshelf"])
    assert described["features"] == text
    assert described["backbone"] == "efficientnet_lite0 + resnet18"
    assert [one["size"] for one in described["preprocessing"]] == [224, 224]
    column = described["columns"]["features"]
    assert {name: column[name] for name in ("features", "joined", "seed", "dimension")} == {
        "features": text,
        "joined": "side by side",
        "seed": 0,
        "dimension": 1280 + 512,
    }
    names = ("backbone", "input_size", "layer", "pooling", "normalisation", "dimension")
    assert [[part[name] for name in names] for part in column["parts"]] == [
        ["efficientnet_lite0", 224, "penultimate", "avg", "l2", 1280],
        ["resnet18", 224, "layer4", "max", "sqrt", 512],
    ]
    for part, own in zip(column["parts"], result.features.parts, strict=True):
        assert part["identity"] == result.extraction.store_of(own).identity
    document = result.to_json()
    assert document["columns"] == {"features": 1792}
    assert [(one["name"], one["column"]) for one in document["layers"]] == [
        ("penultimate", "features"),
        ("layer4", "features"),
    ]
    assert document["layers"][0]["store"] != document["layers"][1]["store"]
    facts = dict(result.facts())
    assert facts["column"] == "features: 1,792 float32 of an image"
    assert facts["features"].startswith("efficientnet_lite0:penultimate + resnet18:layer4/max/sqrt")
    assert "UNTRAINED" in str(result)


def test_a_product_of_features_is_that_of_its_seed(photos: Path) -> None:
    settings = FeatureSettings(features="penultimate*stage6")
    one, other = (
        extract_features(
            photos, features=settings, run=RunSettings(EngineOptions("torch"), seed=seed)
        )
        for seed in (0, 1)
    )
    first, second = (np.stack(found.to_frame()["features"].dropna()) for found in (one, other))
    assert first.shape == (3, 2048)
    assert not np.array_equal(first, second)
    parts = [
        one.extraction.passes[part.backbone].matrix(part.kind, one.extraction.ok)
        for part in one.features.parts
    ]
    np.testing.assert_array_equal(first, Joining(("l2", "l2"), product=True).join(parts))


def test_one_pooling_is_of_the_parts_without_one(photos: Path) -> None:
    settings = FeatureSettings(features="stage6+stage5/avg")
    result = extract_features(photos, features=settings, poolings=["max"], run=TORCH)
    assert [kind.pooling for kind in result.kinds] == ["max", "avg"]


CONTRADICTIONS = [
    (
        FeatureSettings(features="penultimate+stage6"),
        {"layers": ["stage5"]},
        "features 'penultimate+stage6' and layer 'stage5': the features are one column that names "
        "its layers and poolings; leave one of the two out",
    ),
    (
        FeatureSettings(features="penultimate+stage6"),
        {"poolings": ["max", "avg"]},
        "features 'penultimate+stage6' and pooling 'max', 'avg': the features are one column that "
        "names its layers and poolings; leave one of the two out",
    ),
    (
        FeatureSettings(features="penultimate", flips="both"),
        {},
        "flips 'both': extract gives the features of images as they are; fit, curve, audit and "
        "compare use mirror images",
    ),
    (
        FeatureSettings(flips="training"),
        {},
        "flips 'training': extract gives the features of images as they are; fit, curve, audit "
        "and compare use mirror images",
    ),
]


@pytest.mark.parametrize(("features", "settings", "message"), CONTRADICTIONS)
def test_settings_that_contradict_each_other(
    tmp_path: Path, photos: Path, features: FeatureSettings, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(OffshelfError) as caught:
        extract_features(photos, tmp_path / "f.parquet", features=features, **settings)
    assert str(caught.value) == message
    assert not (tmp_path / "f.parquet").exists()


def test_the_command_and_the_function_take_features(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, words = tmp_path / "f.parquet", "penultimate+stage6"
    done = Run(capsys, "extract", photos, "--features", words, "--out", out, "--json")
    assert done.code == 0
    assert done.document["columns"] == {"features": 1280 + 192}
    result = offshelf.extract(photos, features=words)
    np.testing.assert_array_equal(
        np.stack(result.to_frame()["features"].dropna()),
        np.stack(pd.read_parquet(out)["features"].dropna()),
    )
    done = Run(capsys, "extract", photos, "--flips", "both")
    assert (done.code, done.err) == (
        2,
        "error: extract has no option '--flips': rows are of images as they are; fit, curve, audit "
        "and compare use mirror images; 'offshelf extract --help' shows the options\n",
    )
    with pytest.raises(OffshelfError) as caught:
        offshelf.extract(photos, flips="both")
    assert str(caught.value) == (
        "extract has no keyword 'flips': rows are of images as they are; fit, curve, audit and "
        "compare use mirror images"
    )
