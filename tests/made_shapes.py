"""Pictures with several things on each, which tests make: shapes of a colour on a ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

THINGS = {"circle": (200, 30, 30), "square": (30, 60, 200), "stripes": (20, 150, 60)}
SHARES = (0.5, 0.4, 0.3)
SIDE = 64


def shapes(things: tuple[str, ...], draw: np.random.Generator) -> Image.Image:
    """Return a picture with these things, never the same twice."""
    grey = draw.integers(150, 220)
    noise = draw.integers(-25, 25, (SIDE, SIDE, 1))
    picture = Image.fromarray(np.repeat(grey + noise, 3, axis=2).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for name in things:
        x, y = draw.integers(2, 28, 2).tolist()
        colour, size = THINGS[name], int(draw.integers(18, 32))
        box = [x, y, x + size, y + size]
        if name == "circle":
            pen.ellipse(box, colour)
        elif name == "square":
            pen.rectangle(box, colour)
        else:
            for left in range(x, x + size, 6):
                pen.rectangle([left, y, left + 2, y + size], colour)
    return picture


def write_shapes(folder: Path, n: int = 60, *, seed: int = 0, split: float = 0.3) -> Path:
    """Write *n* pictures and a table of their labels with a split; return the table."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,labels,split"]
    for number in range(n):
        has = draw.random(len(THINGS)) < SHARES
        things = tuple(name for name, one in zip(THINGS, has, strict=True) if one)
        shapes(things, draw).save(folder / f"{number:03}.png")
        side = "test" if number < split * n else "train"
        lines.append(f"{number:03}.png,{';'.join(things)},{side}")
    file = folder / "shapes.csv"
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file
