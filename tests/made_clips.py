"""Frames of made-up clips: a background of the clip's own, and a weak sign of the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 48
# A regular expression that names the clip of a frame.
PATTERN = r"clip\d+"


def write_clips(
    folder: Path,
    *,
    classes: int = 3,
    clips: int = 12,
    frames: int = 5,
    strength: float = 18,
    seed: int = 0,
) -> Path:
    """Write ``CLASS/clipN-frameM.png``, so many clips of each class and frames of each clip."""
    draw = np.random.default_rng(seed)
    for number in range(classes * clips):
        label = number % classes
        place = folder / f"class{label}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = draw.integers(0, 256, (6, 6, 3), np.uint8)
        background = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        for frame in range(frames):
            pixels = np.asarray(background, np.float64) + strength * _sign(label, draw)
            pixels += draw.normal(0, 8, pixels.shape)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
                place / f"clip{number:02}-frame{frame}.png"
            )
    return folder


def _sign(label: int, draw: np.random.Generator) -> np.ndarray:
    """Return faint stripes, of which the class is the direction."""
    y, x = np.mgrid[:SIDE, :SIDE]
    angle = np.pi * label / 3
    along = x * np.cos(angle) + y * np.sin(angle)
    return np.sin(0.9 * along + draw.uniform(0, 2 * np.pi))[..., None]
