"""TIFF files whose samples Pillow cannot read, or misreads, as RGB of 8 bits.

These are samples of 16, 32 and 64 bits, floats, signed numbers, and bands that no tag
explains. Where no standard says what bands mean, this is what is decided, and said:

- bands after the colours, without the tag ExtraSamples, are left out: none is alpha;
- three and more grey bands without alpha are red, green and blue, as maps of the earth are
  drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from offshelf.data.decoding import tiff_samples as tiff
from offshelf.data.decoding.deep_samples import RGB, three_channels
from offshelf.data.decoding.levels import Levels, Values, found_levels, no_data
from offshelf.data.decoding.strips import Pixels, canvas
from offshelf.data.decoding.tiff_samples import BLOCK_BYTES, PACKED_BYTES, RAW, Directory, Samples
from offshelf.errors import ImageError

_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # SampleFormat -> kind of number
_SIZES = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
_GREY, _WHITE_IS_ZERO, _COLOUR = (0, 1), 0, 2
_PREMULTIPLIED, _ALPHA = 1, 2
_MAX_BYTES = 2**32
_COPIES = 3  # of a packed block: its pieces, the file of them, and its reader's
_WORKING = 40  # bytes beside each byte that is scaled: floats of 64 bits and masks
_AT_ONCE = 2**21  # bytes that are scaled at once, at most


@dataclass(frozen=True, kw_only=True)
class TiffPicture:
    """A picture of samples that are drawn here.

    *colours* are the numbers of the bands that are drawn, *alpha* that of transparency, by which
    the colours may be multiplied already. The values *missing* stand for no data, *turn* is the
    orientation, and *assumed* what was decided where no standard decides.
    """

    samples: Samples
    colours: tuple[int, ...]
    alpha: int | None
    premultiplied: bool
    white_is_zero: bool
    missing: tuple[float, ...]
    turn: int
    assumed: str

    @property
    def memory(self) -> int:
        """Bytes that :meth:`pixels` takes at its peak, an upper estimate."""
        size = self.samples.width * self.samples.height
        planes = len(self.colours) + 1 if self.samples.separate else 1
        block = self.samples.block_bytes
        unpacking = block + _COPIES * min(sum(self.samples.counts), 2 * block)
        return 3 * size + planes * unpacking + _WORKING * min(planes * block, _AT_ONCE)

    def pixels(self, content: bytes, background: RGB) -> Pixels:
        """Return the pixels, uint8 H x W x 3, upright.

        Raises:
            ImageError: ``too_large``, where each pixel has very many samples.
            OSError: strips or tiles are missing or damaged.
        """
        size = self.samples.width * self.samples.height * self.samples.together
        if size * self.samples.dtype.itemsize > _MAX_BYTES:
            raise ImageError("too_large", f"more than {_MAX_BYTES} bytes of samples in a TIFF")
        scale = self._scale(content, self.colours)
        scale = scale.inverted() if self.white_is_zero else scale
        opaque = None if self.alpha is None else self._scale(content, (self.alpha,))
        bands = self.colours if self.alpha is None else (*self.colours, self.alpha)
        upright, stored = canvas((self.samples.height, self.samples.width, 3), self.turn)
        for top, values in self.samples.blocks(content, bands):
            drawn = self._drawn(values[:, :, : len(self.colours)], scale)
            if opaque is not None:
                drawn = self._laid(drawn, opaque.grey8(values[:, :, -1:]), background)
            stored[top : top + len(values)] = drawn
        return upright

    def _drawn(self, values: Values, scale: Levels) -> Pixels:
        if len(self.colours) == 1:
            return three_channels(scale.grey8(values)[:, :, 0])
        drawn = replace(scale, missing=()).grey8(values)  # one band alone may be as bright
        for value in scale.missing:
            drawn[(values == value).all(axis=2)] = 0
        return drawn

    def _scale(self, content: bytes, bands: tuple[int, ...]) -> Levels:
        white = {"u1": 255, "u2": 65535}.get(self.samples.dtype.str[1:])
        if bands == (self.alpha,) and self.samples.dtype.kind in "iu":
            bits = 8 * self.samples.dtype.itemsize
            white = 2 ** (bits - (self.samples.dtype.kind == "i")) - 1
        if white is not None:
            return Levels(black=0, white=white, missing=self.missing)
        blocks = (values for _, values in self.samples.blocks(content, bands))
        return found_levels(blocks, self.missing)

    def _laid(self, drawn: Pixels, alpha: Pixels, background: RGB) -> Pixels:
        share = alpha.astype(np.uint16)
        under = np.array(background, np.uint16) * (255 - share)
        over = drawn.astype(np.uint16) * (255 if self.premultiplied else share)
        mixed: Pixels = np.minimum((over.astype(np.uint32) + under + 127) // 255, 255).astype(
            np.uint8
        )
        return mixed


def tiff_picture(content: bytes) -> TiffPicture | None:
    r"""Return a TIFF file as a picture that is drawn here, or None where Pillow draws it.

    >>> tiff_picture(b"II*\\0") is None
    True
    """
    directory = _directory(content)
    samples = None if directory is None else _samples(directory)
    if directory is None or samples is None:
        return None
    bands, photometric = samples.bands, _photometric(directory, samples.bands)
    extra = directory.tags.get(tiff.EXTRA_SAMPLES, ())
    colours, assumed = _colours(photometric, bands, extra)
    alpha = next((at for at, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _ALPHA)), None)
    text = bytes(value & 255 for value in directory.tags.get(tiff.NO_DATA, ()))
    return TiffPicture(
        samples=samples,
        colours=colours,
        alpha=None if alpha is None else bands - len(extra) + alpha,
        premultiplied=alpha is not None and extra[alpha] == _PREMULTIPLIED,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        missing=no_data(text.decode("ascii", "replace"), samples.dtype),
        turn=directory.one(tiff.ORIENTATION, 1),
        assumed=assumed,
    )


def _directory(content: bytes) -> Directory | None:
    """Return the directory of a file whose samples are whole bytes and packed as bytes."""
    directory = tiff.read_directory(content)
    if directory is None or directory.one(tiff.FILL_ORDER, 1) != 1:
        return None
    return directory if directory.one(tiff.COMPRESSION, RAW) in PACKED_BYTES else None


def _photometric(directory: Directory, bands: int) -> int:
    return directory.one(tiff.PHOTOMETRIC, _COLOUR if bands in (3, 4) else 1)


def _samples(directory: Directory) -> Samples | None:
    bands = directory.one(tiff.SAMPLES, 1)
    dtype = _dtype(directory, bands)
    extra = directory.tags.get(tiff.EXTRA_SAMPLES, ())
    photometric = _photometric(directory, bands)
    channels = 3 if photometric == _COLOUR else 1
    if dtype is None or photometric not in (*_GREY, _COLOUR) or bands < channels + len(extra):
        return None
    if dtype.str[1:] == "u1" and _pillow_draws(directory, photometric, bands, extra):
        return None
    return _laid_out(directory, bands, dtype)


def _dtype(directory: Directory, bands: int) -> np.dtype[np.generic] | None:
    bits = set(directory.tags.get(tiff.BITS, (1,))[:bands])
    formats = set(directory.tags.get(tiff.SAMPLE_FORMAT, (1,))[:bands])
    if len(bits) != 1 or len(formats) != 1:
        return None
    kind, size = _KINDS.get(formats.pop(), ""), bits.pop()
    if size not in _SIZES.get(kind, ()):
        return None
    return np.dtype(f"{directory.order}{kind}{size // 8}")


def _pillow_draws(
    directory: Directory, photometric: int, bands: int, extra: tuple[int, ...]
) -> bool:
    """Return whether Pillow draws these bands of 8 bits as their tags say."""
    unknown = directory.large and directory.order == ">"  # which it takes for damaged
    if unknown or tiff.NO_DATA in directory.tags or tiff.PHOTOMETRIC not in directory.tags:
        return False
    if photometric == _COLOUR:
        return bands == 3 + len(extra) and len(extra) <= 3
    return bands == 1 or (bands == 2 and len(extra) == 1 and photometric != _WHITE_IS_ZERO)


def _colours(photometric: int, bands: int, extra: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """Return the bands that are drawn, and what that assumes."""
    if photometric == _COLOUR:
        assumed = "the first three read as RGB" if bands > 3 + len(extra) else ""
    elif bands > 2 and not any(extra):
        return (0, 1, 2), f"{bands} grey bands of a TIFF: the first three read as RGB"
    else:
        assumed = "the first read as grey" if bands > 1 + len(extra) else ""
    drawn = (0, 1, 2) if photometric == _COLOUR else (0,)
    return drawn, assumed and f"{bands} bands of a TIFF without ExtraSamples: {assumed}"


def _laid_out(directory: Directory, bands: int, dtype: np.dtype[np.generic]) -> Samples | None:
    width, height = directory.one(tiff.WIDTH, 0), directory.one(tiff.HEIGHT, 0)
    tiled = tiff.TILE_OFFSETS in directory.tags
    rows = directory.one(tiff.ROWS_PER_STRIP, 0) or height
    tile = (width, min(rows, height))
    if tiled:
        tile = directory.one(tiff.TILE_WIDTH, 0), directory.one(tiff.TILE_HEIGHT, 0)
    compression = directory.one(tiff.COMPRESSION, RAW)
    predictor = directory.one(tiff.PREDICTOR, 1) if compression != RAW else 1
    if min(width, height, *tile) < 1 or predictor not in (1, 2, 3):
        return None
    offsets = directory.tags.get(tiff.TILE_OFFSETS if tiled else tiff.STRIP_OFFSETS, ())
    counts = directory.tags.get(tiff.TILE_COUNTS if tiled else tiff.STRIP_COUNTS, ())
    samples = Samples(
        width=width,
        height=height,
        bands=bands,
        dtype=dtype,
        compression=compression,
        predictor=predictor,
        separate=directory.one(tiff.PLANAR, 1) == 2 and bands > 1,
        tile=tile,
        offsets=offsets,
        counts=counts if counts or compression != RAW else (1,) * len(offsets),
    )
    return _in_blocks(samples) if compression == RAW and not tiled else samples


def _in_blocks(samples: Samples) -> Samples:
    """Return samples that lie in one long strip as several."""
    rows = max(BLOCK_BYTES // samples.tile_row, 1)
    if samples.tile[1] < samples.height or rows >= samples.height:
        return samples
    starts = range(0, samples.height, rows)
    planes = samples.bands if samples.separate else 1
    if planes * len(starts) > tiff.MAX_VALUES:  # beyond any limit, which is said elsewhere
        return samples
    offsets = tuple(
        offset + top * samples.tile_row
        for offset in islice(samples.offsets, planes)
        for top in starts
    )
    tile = (samples.width, rows)
    return replace(samples, tile=tile, offsets=offsets, counts=(1,) * len(offsets))
