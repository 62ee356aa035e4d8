"""Thresholds of an audit, and the sentences that state them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from offshelf.data.lookalikes import BITS
from offshelf.errors import DataError


@dataclass(frozen=True)
class Bounds:
    """Thresholds from which on an audit reports a finding.

    Attributes:
        hash_distance: bits of 64 in which near-duplicates may differ, 0 to 32.
        cosine: minimum cosine of the features that confirms a near-duplicate, 0 to 1.
        margin: minimum by which another class outscores an image's own, 0 or more.
        folds: of the label check, 2 or more.
        class_size: minimum of training images of a class.
        imbalance: maximum ratio of two classes' training images.
        short_side: minimum short side, pixels.
        aspect: maximum ratio of long to short side.
        size_ratio: maximum factor between an image's number of pixels and the median.
        rare_mode: minimum share of the images that use a pixel mode, 0 to 1.
        dark: minimum mean grey, 0 to 255.
        bright: maximum mean grey, 0 to 255.
        contrast: minimum standard deviation of grey.
        sharpness: minimum variance of the Laplacian of grey.
        flat: minimum share of one grey in a placeholder, 0 to 1.
        grey_levels: maximum of grey levels that 90 % of a placeholder have.

    Raises:
        DataError: a bound is out of its range.

    >>> Bounds(cosine=2.0)
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: cosine is a number from 0 to 1, not 2
    """

    hash_distance: int = 10
    cosine: float = 0.9
    margin: float = 1.0
    folds: int = 5
    class_size: int = 10
    imbalance: float = 10.0
    short_side: int = 32
    aspect: float = 4.0
    size_ratio: float = 8.0
    rare_mode: float = 0.05
    dark: float = 40.0
    bright: float = 215.0
    contrast: float = 15.0
    sharpness: float = 30.0
    flat: float = 0.5
    grey_levels: int = 32

    def __post_init__(self) -> None:
        self._within("hash_distance", 0, BITS // 2)
        self._within("cosine", 0, 1)
        self._within("margin", 0, 1e6)
        self._within("folds", 2, 1000)

    def _within(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise DataError(f"{name} is a number from {low:g} to {high:g}, not {value:g}")

    def to_json(self) -> dict[str, Any]:
        """Return all bounds by name."""
        return dataclasses.asdict(self)

    def sentences(self) -> dict[str, str]:
        """Return for every kind of finding what it is, with its bound.

        >>> Bounds().sentences()["dark"]
        'Mean grey under 40 of 255.'
        """
        return {**self._of_images(), **self._of_pixels()}

    def _of_images(self) -> dict[str, str]:
        return {
            "unreadable": "The file is damaged, cut off, empty, too large or no image. It is left "
            "out wherever this data is used; with --keep-damaged, what can be read of a damaged "
            "one is taken.",
            "identical": "Files with the same sha256. An error where they stand in both splits "
            "(the test then measures memory) or under two labels; else a warning.",
            "near_duplicate": f"Perceptual hashes (64 signs of the DCT, also mirrored) that differ "
            f"in at most {self.hash_distance} bits, and features whose cosine is at least "
            f"{self.cosine:g}. Linked images are one group. An error across the splits or under "
            "two labels; else a warning.",
            "doubtful_label": f"Another class outscores the image's own by {self.margin:g} or "
            f"more in a linear SVM that was not trained on it: {self.folds} folds of the training "
            "images, duplicates in one fold; test images by all training images. The clearest "
            "first. The label may be wrong, or the image unusual: look at it.",
            "placeholder": "Pictures of one colour; and drawn ones (at least "
            f"{100 * self.flat:.0f} % of the pixels of about one grey, nine tenths of at most "
            f"{self.grey_levels} greys) among photographs that are unlike all of their class or "
            "stand in several classes. Copies are one finding. Among drawings, only copies that "
            "are unlike their class.",
            "small_class": f"Fewer than {self.class_size} usable training images.",
            "imbalance": f"The largest class has {self.imbalance:g} times as many training images "
            "as the smallest, or more.",
        }

    def _of_pixels(self) -> dict[str, str]:
        return {
            "odd_size": f"A short side under {self.short_side} pixels, a long side of "
            f"{self.aspect:g} or more short sides, or {self.size_ratio:g} times as many or as few "
            "pixels as the median image, or more.",
            "odd_mode": "Stored other than as 8-bit grey or RGB, or in a way that fewer than "
            f"{100 * self.rare_mode:.0f} % of the images share.",
            "dark": f"Mean grey under {self.dark:g} of 255.",
            "bright": f"Mean grey over {self.bright:g} of 255.",
            "low_contrast": f"Standard deviation of grey under {self.contrast:g} of 255.",
            "blurred": f"Variance of the Laplacian of grey under {self.sharpness:g}, with the long "
            "side reduced to 256 pixels: blurred at the size that a network sees.",
        }
