"""One function says what the network sees, and everything that runs or shows one asks it."""

from __future__ import annotations

import ast
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

import offshelf
from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.backbones.specification.preprocess import prepare
from offshelf.backbones.specification.spec import InputSpec
from offshelf.data.decode import Limits, as_rgb
from offshelf.errors import DataError, ImageError
from offshelf.features.network_input import network_input
from offshelf.features.profile import Stopwatch
from offshelf.features.reader import ReadOptions, digest_one
from offshelf.jobs import classify as classify_job
from offshelf.jobs.explain import explain
from offshelf.jobs.fit import model_assembly
from offshelf.jobs.fit.job import fit
from offshelf.jobs.predict import predict
from offshelf.jobs.setup import precision
from offshelf.jobs.setup.settings import FeatureSettings
from offshelf.jobs.visualise.activation_maps import activation_maps
from offshelf.jobs.visualise.feature_maps import Choice
from offshelf.jobs.visualise.picture_files import input_to_show
from offshelf.jobs.visualise.top_images import top_images
from offshelf.resample import resize as resample

Pixels = NDArray[np.uint8]
LIMITS = Limits()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of large JPEG photographs, in folders of their own."""
    root, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(3)
    for name, tone in (("dark", 60), ("light", 190)):
        (root / name).mkdir()
        for number in range(4):
            grain = draw.normal(tone, 40, (1000, 1400, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(grain).save(root / name / f"{number}.jpg", quality=85)
    return root


@pytest.fixture(scope="module")
def photo(photos: Path) -> str:
    return str(photos / "light" / "0.jpg")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return open_backbone("efficientnet_lite0", decode="reduced")


def by_the_reader(photo: str, backbone: Backbone) -> Pixels | None:
    watch = Stopwatch()
    return digest_one(photo, lambda _: None, backbone.input, LIMITS, watch).pixels


def by_explain_and_maps(photo: str, backbone: Backbone) -> Pixels:
    return input_to_show(photo, backbone.input, LIMITS).pixels


def by_the_crops(photo: str, backbone: Backbone) -> Pixels:
    found = top_images([photo], ["stage1"], choice=Choice((0,)), top=1)
    found = dataclasses.replace(found, backbone=backbone)
    opened: dict[str, Pixels] = {}
    found._crop(found["stage1"].peaks(0)[0], opened)
    return opened[photo]


def by_training_mode(photo: str, backbone: Backbone) -> Pixels:
    taken: list[Pixels] = []

    def views(pixels: dict[int, Pixels], *_: Any) -> tuple[dict[int, Any], tuple[str, ...]]:
        taken.extend(pixels.values())
        return {}, ()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classify_job, "training_outputs", views)
        settings = FeatureSettings(decode="reduced", resize="squash")
        classify_job.classify([photo], settings, train_mode=True)
    return taken[0]


def by_calibration(photo: str, backbone: Backbone) -> Pixels:
    return precision._pixels([photo], backbone, LIMITS)[0]


def by_the_samples_of_a_model(photo: str, backbone: Backbone) -> Pixels:
    (seen,) = model_assembly._pixels(photo, (backbone,), LIMITS)
    return seen


CALLERS = (
    by_the_reader,
    by_explain_and_maps,
    by_the_crops,
    by_training_mode,
    by_calibration,
    by_the_samples_of_a_model,
)


@pytest.mark.slow
@pytest.mark.parametrize("caller", CALLERS)
def test_every_caller_sees_the_reduced_photograph(
    caller: Any, photo: str, backbone: Backbone
) -> None:
    expected = network_input(photo, backbone.input).pixels
    full = prepare(as_rgb(photo), backbone.input)
    assert not np.array_equal(expected, full)
    assert np.array_equal(caller(photo, backbone), expected)


@pytest.mark.slow
def test_nothing_else_prepares_images() -> None:
    root = Path(offshelf.__file__).parent
    users = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module == "offshelf.backbones.specification.preprocess"
        and "prepare" in {name.name for name in node.names}
    }
    assert users == {"features/network_input.py"}


@pytest.mark.slow
@pytest.mark.parametrize("decode", ["full", "reduced"])
def test_explain_scores_what_predict_scores(photos: Path, tmp_path: Path, decode: str) -> None:
    model, image = tmp_path / "a.offshelf", photos / "dark" / "1.jpg"
    fit(photos, model, features=FeatureSettings(decode=decode))
    (told,) = predict(model, [image]).predictions
    explained = explain(model, image).scores
    assert explained.keys() == told.scores.keys()
    for label, score in told.scores.items():
        assert explained[label] == pytest.approx(score, abs=2e-4)


@pytest.mark.slow
def test_maps_show_the_reduced_photograph(photo: str, backbone: Backbone) -> None:
    found = activation_maps(photo, ["stage1"], features=FeatureSettings(decode="reduced"))
    assert np.array_equal(found.network_input.pixels, network_input(photo, backbone.input).pixels)


@pytest.mark.slow
def test_bytes_a_path_and_pixels_give_the_same(photo: str) -> None:
    spec = InputSpec(size=32)
    rgb = as_rgb(photo)
    found = [network_input(one, spec) for one in (photo, Path(photo), Path(photo).read_bytes())]
    found += [network_input(rgb, spec), network_input(Image.fromarray(rgb), spec)]
    assert all(np.array_equal(one.pixels, found[0].pixels) for one in found)
    assert {(one.facts.width, one.facts.height) for one in found} == {(1400, 1000)}


def test_limits_hold_for_files_and_for_images_in_memory(photo: str) -> None:
    small = Limits(max_pixels=100)
    for image in (photo, Path(photo).read_bytes(), Image.fromarray(as_rgb(photo))):
        with pytest.raises(ImageError, match=r"^too_large: 1400 x 1000 pixels, the limit is 100"):
            network_input(image, InputSpec(size=8), small)
    with pytest.raises(DataError, match="not list"):
        network_input([1], InputSpec(size=8))


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_seen_upright(
    orientation: int, resize: Any, compiled: bool, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never copied upright, and the pixels are those of an upright copy."""
    monkeypatch.setattr(resample, "_MAKER", resample._Maker())
    monkeypatch.setattr(resample, "WORTH_COMPILING", 0 if compiled else 10**12)
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    with Image.open(photo) as image:
        image.resize((140, 100)).save(buffer, "JPEG", exif=exif, quality=95)
    spec = InputSpec(size=32, resize=resize, interpolation="bicubic")
    upright = ImageOps.exif_transpose(Image.open(buffer)).convert("RGB")
    expected = prepare(np.asarray(upright), spec)
    assert np.array_equal(network_input(buffer.getvalue(), spec).pixels, expected)


def test_time_is_told_by_stage(photo: str) -> None:
    watch = Stopwatch()
    network_input(photo, InputSpec(size=8), watch=watch)
    stages = watch.profile().stages
    assert stages["decode"] > 0
    assert stages["resize"] > 0
    assert ReadOptions().limits == LIMITS
