"""What excites a channel most: the same as looking at every cell of every image."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.specification.preprocess import prepare
from offshelf.data.decode import as_rgb
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import open_engine
from offshelf.errors import DataError, LayerError
from offshelf.jobs.visualise.feature_maps import Choice, StrongestCells, crop_box
from offshelf.jobs.visualise.top_images import TopResult, top_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve test pictures, a copy of one, an empty file and one that is no picture."""
    folder = tmp_path_factory.mktemp("images")
    for number, path in enumerate(sorted((scenes / "test").rglob("*.png"))):
        (folder / f"{number:02d}.png").write_bytes(path.read_bytes())
    (folder / "copy.png").write_bytes((folder / "03.png").read_bytes())
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def result(images: Path) -> TopResult:
    choice = Choice((3, 0, 7))
    return top_images([images], ["stage1", "head_conv"], choice=choice, top=3)


def all_maps(paths: list[Path]) -> dict[str, dict[str, np.ndarray]]:
    backbone = open_backbone("efficientnet_lite0")
    taps = {"stage1": Tap("blocks.0"), "head_conv": Tap("bn2")}
    engine = open_engine(backbone, taps.values(), EngineOptions(engine="torch", device="cpu"))
    found = {}
    for path in paths:
        outputs = engine.run(prepare(as_rgb(path), backbone.input)[None])
        found[str(path)] = {name: outputs[tap][0] for name, tap in taps.items()}
    return found


def test_the_best_are_those_of_looking_at_everything(result: TopResult, images: Path) -> None:
    every = all_maps(sorted(images.glob("[01]?.png")))
    for layer, channel in itertools.product(("stage1", "head_conv"), (3, 0, 7)):
        largest = [float(found[layer][channel].max()) for found in every.values()]
        expected = sorted((value for value in largest if value > 0), reverse=True)[:3]
        peaks = result[layer].peaks(channel)
        assert [peak.value for peak in peaks] == pytest.approx(expected, rel=1e-3)
        for peak in peaks:
            at = every[peak.path][layer][channel][peak.row, peak.column]
            assert at == pytest.approx(peak.value, rel=1e-3)


def test_copies_count_once_and_what_is_no_image_is_named(result: TopResult) -> None:
    assert result.used == 12
    assert {Path(row["path"]).name: row["status"] for row in result.failures} == {
        "empty.png": "empty",
        "text.jpg": "not_an_image",
    }
    paths = [peak.path for peak in result["stage1"].peaks(3)]
    assert len(set(paths)) == 3


def test_the_result_prints_itself_and_is_json(result: TopResult) -> None:
    assert str(result).splitlines()[0] == "12 images in efficientnet_lite0 (openvino on cpu)"
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["n_failed"] == 2
    first = document["layers"][0]["channels"][0]
    assert first["channel"] == 3
    assert len(first["images"][0]["box"]) == 4
    assert result._repr_png_()[1:4] == b"PNG"


def test_a_picture_per_layer_is_written(result: TopResult, tmp_path: Path) -> None:
    names = [path.name for path in result.write(tmp_path / "a.png", "top")]
    assert names == ["a-stage1-top.png", "a-head_conv-top.png"]
    names = [path.name for path in result.write(tmp_path)]
    assert names[0] == "efficientnet_lite0-stage1-top.png"


def test_an_image_that_is_gone_leaves_a_grey_square(images: Path, tmp_path: Path) -> None:
    for path in images.glob("0?.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    found = top_images([tmp_path], ["stage1"], choice=Choice((0,)), top=1)
    Path(found["stage1"].peaks(0)[0].path).unlink()
    assert found.picture()[1:4] == b"PNG"
    crop = found._crop(found["stage1"].peaks(0)[0], {})
    assert np.unique(crop).tolist() == [128]


def test_other_channels_can_be_chosen_afterwards(result: TopResult) -> None:
    other = result.with_channels({"blocks.0": (1,), "bn2": (2, 5)})
    assert [one.channels for one in other.layers] == [(1,), (2, 5)]


def test_nothing_excites_a_dead_channel() -> None:
    best = StrongestCells(2, 2)
    best.add(0, np.array([[0, 0], [0, 1]], np.float32))
    assert np.isinf(best.values[0]).all()
    assert best.values[1].tolist() == [1.0, -np.inf]


def test_among_equal_values_the_larger_mean_goes_first_then_the_earlier_image() -> None:
    best = StrongestCells(1, 3)
    for number, cells in enumerate([[6, 0, 0], [6, 6, 0], [5, 5, 5.5], [6, 0, 0], [6, 6, 5]]):
        best.add(number, np.array([cells], np.float32))
    assert best.images[0].tolist() == [4, 1, 0]
    assert best.values[0].tolist() == [6, 6, 6]
    assert best.cells[0].tolist() == [0, 0, 0]


@given(st.sampled_from((224, 240, 299)), st.integers(2, 224), st.data())
def test_a_crop_lies_inside_and_holds_its_cell(size: int, side: int, data: st.DataObject) -> None:
    row, column = (data.draw(st.integers(0, side - 1)) for _ in range(2))
    left, top, right, bottom = crop_box(row, column, side, size)
    assert 0 <= left < right <= size
    assert 0 <= top < bottom <= size
    assert right - left == bottom - top
    assert size // 8 <= right - left <= -(-size // 2)
    assert left <= (column + 0.5) * size / side <= right
    assert top <= (row + 0.5) * size / side <= bottom


@pytest.mark.parametrize(
    ("layers", "choice", "top", "error", "text"),
    [
        ([], None, 1, LayerError, "no layer was asked for"),
        (["stage1"], Choice((16,)), 1, LayerError, "stage1 has the channels 0 to 15: no channel 1"),
        (["stage1"], None, 17, DataError, "top 17: 1 to 16 images per channel"),
        (["logits"], None, 1, LayerError, "efficientnet_lite0: logits puts out 1000 values"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    images: Path, layers, choice, top: int, error, text: str
) -> None:
    with pytest.raises(error) as caught:
        top_images([images], layers, choice=choice, top=top)
    assert str(caught.value).startswith(text)


def test_only_broken_images_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        top_images([tmp_path], ["stage1"])
    assert str(error.value) == (
        f"none of the images can be used; {tmp_path / 'a.png'}: the file is empty"
    )


def test_a_small_set_fills_what_it_can(tmp_path: Path) -> None:
    Image.effect_noise((40, 40), 80).convert("RGB").save(tmp_path / "a.png")
    found = top_images([tmp_path], ["stage1"], choice=Choice((0,)), top=4)
    assert len(found["stage1"].peaks(0)) == 1
