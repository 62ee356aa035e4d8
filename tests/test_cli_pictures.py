"""``maps``, ``filters`` and ``explain`` from end to end: files, one JSON document, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_run import Run


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_maps_of_several_layers(
    capsys: pytest.CaptureFixture[str], image: Path, here: Path
) -> None:
    run = Run(capsys, "maps", image, "-l", "stage1", "-l", "stage3", "--limit", 4)
    assert run.code == 0
    lines = run.out.splitlines()
    assert lines[0] == f"{image} in efficientnet_lite0 (torch on cpu)"
    assert lines[-2:] == ["picture: noise-stage1.png", "picture: noise-stage3.png"]
    with Image.open(here / "noise-stage1.png") as picture:
        assert picture.format == "PNG"


def test_maps_as_one_document(capsys: pytest.CaptureFixture[str], image: Path, here: Path) -> None:
    run = Run(capsys, "maps", image, "-l", "stage1", "--channels", "3,0-1", "-o", "m.svg", "--json")
    assert run.code == 0
    assert run.document["out"] == ["m.svg"]
    assert [row["channel"] for row in run.document["layers"][0]["channels"]] == [3, 0, 1]
    assert (here / "m.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.slow
def test_images_that_excite_the_channels_of_an_image(
    capsys: pytest.CaptureFixture[str], image: Path, scenes: Path, here: Path
) -> None:
    options = ("-l", "stage1", "--sort", "strength", "--limit", 2, "--top", 2, "-o", "m.png")
    run = Run(
        capsys,
        "maps",
        image,
        *options,
        "--top-images",
        scenes / "test",
        "--engine",
        "torch",
        "--json",
        "--quiet",
    )
    assert run.code == 0
    assert run.document["out"] == ["m.png"]
    assert run.document["top_images"]["out"] == ["m-top.png"]
    chosen = [row["channel"] for row in run.document["layers"][0]["channels"]]
    found = run.document["top_images"]["layers"][0]["channels"]
    assert [row["channel"] for row in found] == chosen
    assert all(len(row["images"]) == 2 for row in found)
    assert (here / "m-top.png").is_file()


@pytest.mark.slow
def test_images_that_excite_channels_without_one(
    capsys: pytest.CaptureFixture[str], scenes: Path, here: Path
) -> None:
    run = Run(
        capsys,
        "maps",
        "--top-images",
        scenes / "test",
        "-l",
        "stage1",
        "--limit",
        1,
        "--engine",
        "torch",
    )
    assert run.code == 0
    assert run.out.splitlines()[-1] == "picture: efficientnet_lite0-stage1-top.png"
    assert (here / "efficientnet_lite0-stage1-top.png").is_file()


def test_filters(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run = Run(capsys, "filters", "efficientnet_lite0", "--json", "--scale", "common")
    assert run.code == 0
    assert run.document["shape"] == [32, 3, 3, 3]
    assert (here / run.document["out"]).is_file()
    run = Run(capsys, "filters", "efficientnet_lite0", "--channels", "5", "-o", "f.svg")
    assert run.out.splitlines()[-1] == "picture: f.svg"


@pytest.mark.slow
def test_explain(capsys: pytest.CaptureFixture[str], model: Path, scenes: Path, here: Path) -> None:
    image = next(iter(sorted((scenes / "test" / "checks").iterdir())))
    run = Run(capsys, "explain", model, image, "--smooth", "--colours", "grey")
    assert run.code == 0
    assert "exact: score = sum of the cells of head_conv, 7 x 7 cells + bias" in run.out
    assert run.out.splitlines()[-1] == f"picture: {image.stem}-explain.png"
    run = Run(capsys, "explain", model, image, "--json", "-o", here / "e.svg", "--class", "noise")
    document = run.document
    assert document["label"] == "noise"
    assert document["adds_up"] is True
    for one in (document["class"], document["against"]):
        total = np.sum(one["cells"]) + one["bias"] + one["elsewhere"]
        assert total == pytest.approx(one["score"], abs=1e-4)
    assert document["out"] == str(here / "e.svg")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("maps", "IMAGE", "-l", "stgae1"),
            "error: efficientnet_lite0: no layer 'stgae1'. Did you mean 'stage1'",
        ),
        (
            ("maps", "IMAGE", "-l", "logits"),
            "error: efficientnet_lite0: logits puts out 1000 values, which is no map over the "
            "image; spatial layers: stem to head_conv; 'offshelf layers efficientnet_lite0' "
            "lists them",
        ),
        (
            ("maps", "IMAGE", "-l", "stage1", "--channels", "16"),
            "error: stage1 has the channels 0 to 15: no channel 16",
        ),
        (
            ("maps", "IMAGE", "-l", "stage1", "--channels", "one"),
            "error: channels 'one': 'one' is no number or range as 10-20",
        ),
        (
            ("maps", "DOT", "-l", "stage1"),
            "error: dot.png: 1 x 1 pixels: too small to see anything, 2 x 2 at least",
        ),
        (("maps", "TEXT", "-l", "stage1"), "error: not_an_image: text.jpg: "),
        (("maps", "gone.png", "-l", "stage1"), "error: missing: gone.png: "),
        (
            ("maps", "-l", "stage1"),
            "error: nothing to look at: name an IMAGE, or --top-images DATA",
        ),
        (
            ("maps", "IMAGE", "-l", "stage1", "-o", "maps.jpg"),
            "error: maps.jpg: a picture's name ends in .png or .svg; "
            "that of a new folder in a slash",
        ),
        (
            ("maps", "IMAGE", "-l", "stage1", "--colours", "jet"),
            "error: no colours 'jet': cividis, viridis, magma, grey.",
        ),
        (
            ("maps", "IMAGE", "-l", "stage1", "--sort", "name"),
            "error: no order 'name': index or strength.",
        ),
        (
            ("maps", "IMAGE", "-l", "stage1", "--grey", "sepia"),
            "error: no channel policy 'sepia': replicate, summed, luma.",
        ),
        (
            ("filters", "efficientnet_lite0", "--channels", "40"),
            "error: conv_stem has the channels 0 to 31: no channel 40",
        ),
        (("filters", "efficientnet_lite0", "-o", "f.gif"), "error: f.gif: a picture's name ends"),
        (("explain", "MODEL", "DOT"), "error: dot.png: 1 x 1 pixels: too small to see"),
        (("explain", "MODEL", "TEXT"), "error: not_an_image: text.jpg: "),
        (
            ("explain", "MODEL", "IMAGE", "--class", "zebra"),
            "error: the model has no class 'zebra': checks, noise, stripes.",
        ),
        (
            ("explain", "MODEL", "IMAGE", "--method", "exakt"),
            "error: no method 'exakt': auto, exact, gradcam. Did you mean 'exact'?",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
    image: Path,
    model: Path,
    here: Path,
    arguments: tuple[str, ...],
    text: str,
) -> None:
    Image.new("RGB", (1, 1)).save(here / "dot.png")
    (here / "text.jpg").write_text("no picture")
    words = {"IMAGE": image, "MODEL": model, "DOT": "dot.png", "TEXT": "text.jpg"}
    run = Run(capsys, *(words.get(one, one) for one in arguments), "--quiet")
    assert run.code == 2
    assert run.err.startswith(text)
    assert run.err.count("\n") == 1
    assert run.out == ""
    assert sorted(path.name for path in here.iterdir()) == ["dot.png", "text.jpg"]


@pytest.mark.real
def test_maps_of_vgg16_with_the_shared_weights(
    capsys: pytest.CaptureFixture[str], shared: Path, here: Path
) -> None:
    weights = shared / "weights" / "vgg16_features.safetensors"
    cat = shared / "images" / "cat.jpg"
    options = ("-b", "vgg16", "-l", "relu1_1", "--weights", weights, "-o", "maps.png")
    assert Run(capsys, "maps", cat, *options).code == 0
    with Image.open(here / "maps.png") as picture:
        assert max(picture.size) in range(1000, 4097)
