"""Placeholders among the images of a class: found, and no drawing of a class of drawings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from conftest import texture
from offshelf.data.lookalikes import flatness
from offshelf.jobs.audit.audit_result import AuditResult
from offshelf.jobs.audit.html_page import write_page
from offshelf.jobs.audit.job import audit
from offshelf.progress import Silent


def photograph(kind: str, draw: np.random.Generator) -> Image.Image:
    light = Image.fromarray(draw.integers(40, 256, (5, 6, 3)).astype(np.uint8))
    shade = np.asarray(light.resize((128, 96), Image.Resampling.BICUBIC), np.float64) / 255
    pattern = np.asarray(Image.fromarray(texture(kind, draw)).resize((128, 96)), np.float64)
    return Image.fromarray((shade * (60 + pattern * 0.75)).clip(0, 255).astype(np.uint8))


def no_image(size: tuple[int, int]) -> Image.Image:
    """A grey frame on white with words, as web sites show in place of a picture."""
    image = Image.new("RGB", (160, 120), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 15, 120, 75), outline="grey", width=3)
    draw.line((40, 75, 120, 15), fill="grey", width=3)
    draw.text((45, 90), "no image found", fill="black")
    return image.resize(size, Image.Resampling.BICUBIC)


def drawing(draw: np.random.Generator) -> Image.Image:
    """A line drawing of its own: some strokes on white."""
    image = Image.new("L", (128, 96), 255)
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        pen.line([tuple(map(int, draw.integers(5, 90, 2))) for _ in range(3)], fill=0, width=3)
    return image


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    root, draw = tmp_path_factory.mktemp("placeholders") / "data", np.random.default_rng(3)
    for name in ("checks", "noise", "drawings"):
        (root / name).mkdir(parents=True)
        for number in range(12):
            one = drawing(draw) if name == "drawings" else photograph(name, draw)
            one.save(root / name / f"{number}.png")
    no_image((160, 120)).save(root / "checks" / "imageNotFound.gif")
    no_image((320, 240)).save(root / "checks" / "0001.jpg", quality=80)
    no_image((240, 180)).save(root / "noise" / "photo.png")
    Image.new("RGB", (90, 70), (200, 30, 40)).save(root / "noise" / "red.png")
    return audit(root, progress=Silent())


NAMES = [{"imageNotFound.gif", "0001.jpg", "photo.png"}, {"red.png"}]


def test_placeholders_are_found_with_their_copies(result: AuditResult) -> None:
    found = result.of_kind("placeholder")
    assert [{Path(image.path).name for image in one.images} for one in found] == NAMES
    assert [one.reason for one in found] == [
        "drawn, of few colours, and unlike its class; 3 images",
        "one colour all over",
    ]
    assert {one.severity for one in found} == {"warning"}


def test_placeholders_are_to_be_left_out(result: AuditResult) -> None:
    out = {Path(one.path).name for one in result.corrections() if one.suggestion == "leave out"}
    assert set.union(*NAMES) <= out


def test_every_face_shows_placeholders(result: AuditResult, tmp_path: Path) -> None:
    assert "Placeholders instead of images. Pictures of one colour; and drawn ones" in str(result)
    assert json.loads(json.dumps(result.to_json()))["counts"]["placeholder"] == 2
    page = write_page(result, tmp_path / "found.html").read_text()
    assert '<section id="placeholder"><h2>Placeholders instead of images: 2</h2>' in page


def test_photographs_are_not_flat() -> None:
    flat, levels = flatness(np.asarray(photograph("noise", np.random.default_rng(0)).convert("L")))
    assert flat < 0.5
    assert levels > 32
