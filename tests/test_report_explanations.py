"""Heat maps over what the network saw, checked by their pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from offshelf.report.pictures.activation_tiles import HEAD, MARGIN, Caption, Look
from offshelf.report.pictures.canvas import MAX_SIDE
from offshelf.report.pictures.colour_maps import coloured
from offshelf.report.pictures.heat_maps import Panel, explanation_picture, overlay

SEEN = np.random.default_rng(1).integers(0, 256, (56, 56, 3), np.uint8)


def panels(side: int) -> list[Panel]:
    cells = np.random.default_rng(0).normal(size=(side, side))
    return [Panel("cat", "score +1", cells), Panel("dog", "", -cells), Panel("x", "", 2 * cells)]


def size(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as picture:
        return picture.size


def test_where_nothing_speaks_the_picture_is_seen_in_grey() -> None:
    grey = np.asarray(Image.fromarray(SEEN).convert("L"))
    laid = overlay(SEEN, np.full((7, 7), 0.5), 56)
    assert np.array_equal(laid, np.repeat(grey[..., None], 3, axis=2))


def test_what_speaks_for_is_light_and_what_speaks_against_is_dark() -> None:
    shares = np.full((7, 7), 0.5)
    shares[0, 0], shares[6, 6] = 1.0, 0.0
    laid = overlay(np.full((56, 56, 3), 128, np.uint8), shares, 56).astype(int)
    assert laid[2, 2].sum() > laid[28, 28].sum() > laid[54, 54].sum()
    expected = 0.15 * 128 + 0.85 * coloured(np.array([1.0]))[0]
    assert np.abs(laid[2, 2] - expected).max() <= 1


def test_cells_are_squares_unless_they_are_blended() -> None:
    shares = np.zeros((7, 7))
    shares[::2, ::2] = 1.0
    plain = np.zeros((56, 56, 3), np.uint8)
    assert len(np.unique(overlay(plain, shares, 56).reshape(-1, 3), axis=0)) == 2
    assert len(np.unique(overlay(plain, shares, 56, smooth=True).reshape(-1, 3), axis=0)) > 50


@pytest.mark.slow
@pytest.mark.parametrize("side", [2, 7, 10, 11, 14, 28, 112, 224])
def test_every_grid_gives_a_bounded_picture(side: int) -> None:
    width, height = size(explanation_picture(SEEN, panels(side), Caption("a", "b")))
    assert max(width, height) <= MAX_SIDE
    assert (height > 800) == (side <= 10)


@pytest.mark.parametrize("side", [7, 14])
def test_a_legend_says_what_dark_and_light_are(side: int) -> None:
    content = explanation_picture(SEEN, panels(side), Caption("a", "b"))
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture)
    panel = round(392 / side) * side
    bar = pixels[HEAD + 42 + panel + 36 + 7, MARGIN : MARGIN + 392]
    assert np.array_equal(bar[[0, -1]], coloured(np.array([0.0, 1.0])))


def test_a_map_without_any_evidence_can_be_drawn() -> None:
    content = explanation_picture(SEEN, [Panel("a", "", np.zeros((7, 7)))], Caption("a"))
    assert content[1:4] == b"PNG"


def test_the_same_in_svg_and_other_colours() -> None:
    look = Look(colours="grey", form="svg")
    assert explanation_picture(SEEN, panels(7), Caption("a"), look).startswith(b"<?xml")
