"""JPEG decoding with libjpeg-turbo, and how much of a damaged picture can be read.

Pillow moves every image through its own storage and out again, a third of the work of a JPEG.
Whatever is unusual or damaged is left to Pillow, which tolerates nearly anything.

libjpeg goes on after nearly any fault and fills what is lost with grey, and an end mark is
soon found or put there; so neither says that a picture is whole. The faults that libjpeg
warns of do: an invalid code, data that end before the picture or go on behind it,
a restart marker out of step. The share that can be read is, by the way a file is coded:

- *in one scan*: the rows above the first fault, found by decoding the first rows alone;
- *with restart markers*: the intervals without a fault, each decoded alone;
- *progressive or in several scans*, where each scan sharpens the picture: the mean, over
  components and coefficients, of the steps that arrived whole.

A run of zero bytes, which the codes of nearly every file could never make, counts as a
hole. A picture is whole without an end mark, with anything behind it, and with filling
before an end mark or between segments. Two faults stay unknown: changed bytes that decode to as
many blocks as before, and what arithmetic coding lost.
"""

from __future__ import annotations

import importlib
import io
import re
from dataclasses import replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decoding.colour import picture
from offshelf.data.decoding.jpeg_segments import (
    Jpeg,
    Scan,
    intervals,
    outlined,
    parsed,
    restart_at,
    zeros_are_flat,
)
from offshelf.data.decoding.limits import Decoded, Facts, Limits, check_facts
from offshelf.data.decoding.strips import orientation, turned

KEPT = "damaged, taken as far as it can be read"
_SPACES = {"L": "GRAY", "RGB": "RGB"}


def reduced_picture(
    image: Image.Image, content: bytes, at_least: int, facts: Facts
) -> Decoded | None:
    """Return an opened JPEG at a smaller scale, or None where it must be decoded in full."""
    quick = quick_pixels(image, content, at_least)
    if quick is None or _may_lack(image, content):
        return None
    return Decoded(pixels=turned(quick, orientation(image)), facts=facts)


def jpeg_picture(image: Image.Image, content: bytes, limits: Limits, facts: Facts) -> Decoded:
    """Return the pixels of an opened JPEG, upright, and its *facts* with what is damaged.

    Raises:
        ImageError: ``damaged`` or ``truncated``, unless *limits* take such files.
    """
    quick = quick_pixels(image, content)
    if quick is not None and not _may_lack(image, content):
        return Decoded(pixels=turned(quick, orientation(image)), facts=facts)
    checked, quick = quick is not None, None
    jpeg = parsed(content)
    if jpeg is not None:
        status, share = readable_share(jpeg, checked=checked)
        facts = replace(facts, status=status, readable=share)
        check_facts(facts, limits)
    pixels, assumed = _tolerant(image, jpeg, limits, facts.status)
    if facts.status != "ok":
        assumed = f"{assumed}; {KEPT}" if assumed else KEPT
    return Decoded(pixels=pixels, facts=replace(facts, assumed=assumed))


def quick_pixels(image: Image.Image, content: bytes, at_least: int = 0) -> NDArray[np.uint8] | None:
    """Return the pixels of an opened JPEG as they lie in the file; None where Pillow must do it.

    With *at_least*, the file is decoded at the smallest of the scales 1/8, 1/4, 1/2 and 1 at which
    both sides keep so many pixels.

    Returns:
        uint8, H x W for a grey file and H x W x 3 for RGB.
    """
    space = _SPACES.get(image.mode)
    if space is None or image.format not in ("JPEG", "MPO"):
        return None
    try:
        pixels: NDArray[np.uint8] = turbo().decode_jpeg(
            content,
            colorspace=space,
            fastdct=False,
            fastupsample=False,
            min_height=at_least,
            min_width=at_least,
        )
    except ValueError:
        return None
    if not at_least and pixels.shape[:2] != (image.height, image.width):
        return None
    return pixels[:, :, 0] if space == "GRAY" else pixels


def _may_lack(image: Image.Image, content: bytes) -> bool:
    """Return whether scans are missing, or zeros where libjpeg finds no fault may be a hole.

    Pillow has just read the head of the first scan.
    """
    parts = len(image.getbands())
    file = getattr(image, "fp", None)
    at = file.tell() - 8 - 2 * parts if file else 0
    with_all = bytes([0xFF, 0xDA, 0, 6 + 2 * parts, parts])
    if content.find(ZEROS, max(at, 0)) >= 0:
        return True
    if "progressive" not in image.info and content[at : at + 5] == with_all:
        return False
    jpeg = outlined(content)
    return jpeg is None or not is_complete(jpeg)


def _tolerant(
    image: Image.Image, jpeg: Jpeg | None, limits: Limits, status: str
) -> tuple[NDArray[np.uint8], str]:
    """Return what Pillow reads; a file without an end mark is given one."""
    if jpeg is None or (status == "ok" and jpeg.ended):
        return picture(image, limits.background)
    pixels, assumed = _mended(jpeg, limits)  # Pillow's copy is gone before another is made
    return turned(pixels, orientation(image)), assumed


def _mended(jpeg: Jpeg, limits: Limits) -> tuple[NDArray[np.uint8], str]:
    with Image.open(io.BytesIO(jpeg.content()), formats=("JPEG",)) as image:
        return picture(image, limits.background)


ZEROS = bytes(64)
# A decoder may leave a few bytes; more that are no filling were blocks of a picture.
_SPARE = 2
_BEHIND = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_FAULTS = ("Corrupt JPEG data", "Premature end", "Inconsistent progression")
_MAX_SIDE = 65_500
_AT_ONCE = 2_000
_MAX_TRIES = 20_000


def readable_share(jpeg: Jpeg, checked: bool = False) -> tuple[str, float]:
    """Return the status of a file, and the share of its picture that can be read.

    The status is ``ok``, ``truncated`` for a file that stops within its data, else ``damaged``.
    Where libjpeg is known to find no fault (*checked*), only scans can be missing.
    """
    inside = any(_hole(scan) >= 0 for scan in jpeg.scans)
    hole = inside or jpeg.scans[-1].data.endswith(ZEROS)
    if checked and not inside:
        share = _steps(jpeg, jpeg.scans)
    elif not jpeg.in_one_scan:
        share = _of_scans(jpeg)
    elif jpeg.interval:
        share = _of_intervals(jpeg)
    else:
        share = _of_rows(jpeg)
    if share >= 1:
        return "ok", 1.0
    return "damaged" if jpeg.ended or hole else "truncated", share


def fault(content: bytes, colours: int) -> str:
    """Return the first fault that libjpeg finds in a file of so many components, empty for none."""
    space = "CMYK" if colours == 4 else "GRAY"
    try:
        turbo().decode_jpeg(content, colorspace=space, min_height=1, min_width=1)
    except ValueError as error:
        return str(error)
    return ""


def is_complete(jpeg: Jpeg) -> bool:
    """Return whether the last bit of every coefficient has come, in far less time than a share."""
    missing = dict.fromkeys(jpeg.sampling, (1 << 64) - 1)
    for scan in jpeg.scans:
        first, last, _, after = scan.band
        for part in scan.components if after == 0 else ():
            missing[part] = missing.get(part, 0) & ~((2 << last) - (1 << first))
    return not any(missing.values())


def turbo() -> ModuleType:
    """Return the binding of libjpeg-turbo."""
    return importlib.import_module("simplejpeg")


def _of_rows(jpeg: Jpeg) -> float:
    data = jpeg.scans[0].data
    data = _before_hole(jpeg, jpeg.width, jpeg.height, data[: restart_at(data)])
    left = _left(jpeg, jpeg.width, jpeg.height, data)
    if left is not None:
        return 1.0 if not left else min(1 - left / len(data), 0.99)
    tall = jpeg.unit[1]
    rows = -(-jpeg.height // tall)
    good, bad = 0, rows
    while bad - good > 1:
        middle = (good + bad) // 2
        if _left(jpeg, jpeg.width, middle * tall, data) is None:
            bad = middle
        else:
            good = middle
    return good / rows


def _of_intervals(jpeg: Jpeg) -> float:
    wide, tall = jpeg.unit
    across, down = -(-jpeg.width // wide), -(-jpeg.height // tall)
    units = across * down
    places = dict(intervals(jpeg.scans[0].data))
    full = [piece for place, piece in places.items() if (place + 1) * jpeg.interval <= units]
    good = _good(jpeg, [full[at : at + _AT_ONCE] for at in range(0, len(full), _AT_ONCE)])
    read = good * jpeg.interval
    last, rest = divmod(units, jpeg.interval)
    if rest and last in places and _good(jpeg.with_interval(rest), [[places[last]]]):
        read += rest
    return read / units


def _good(jpeg: Jpeg, groups: list[list[bytes]]) -> int:
    """Return how many of all pieces are whole, by halving the groups that are not."""
    good = tries = 0
    while groups and tries < _MAX_TRIES:
        group, tries = groups.pop(), tries + 1
        if _is_whole(jpeg, group):
            good += len(group)
        elif len(group) > 1:
            middle = len(group) // 2
            groups += [group[:middle], group[middle:]]
    return good


def _is_whole(jpeg: Jpeg, pieces: list[bytes]) -> bool:
    """Return whether intervals can be read: as the rows of a picture one interval wide."""
    wide, tall = jpeg.unit
    width, height = jpeg.interval * wide, len(pieces) * tall
    across = -(-jpeg.width // wide)
    if width > _MAX_SIDE and not jpeg.interval % across:
        width, height = across * wide, height * (jpeg.interval // across)
    if max(width, height) > _MAX_SIDE:
        return False
    marked = (bytes([0xFF, 0xD0 + at % 8]) + piece for at, piece in enumerate(pieces[1:]))
    joined = b"".join([pieces[0], *marked])
    left = _left(jpeg, width, height, _before_hole(jpeg, width, height, joined))
    return left == 0


def _of_scans(jpeg: Jpeg) -> float:
    scans = tuple(replace(scan, data=_cut(scan)) for scan in jpeg.scans)
    if not _scan_fault(jpeg, scans):
        return _steps(jpeg, scans)
    good, bad = 0, len(scans)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _scan_fault(jpeg, scans[:middle]):
            bad = middle
        else:
            good = middle
    return _steps(jpeg, scans[:good])


def _scan_fault(jpeg: Jpeg, scans: tuple[Scan, ...]) -> bool:
    # libjpeg tells missing restart markers in the words of filling before an end mark.
    wanted = jpeg.pieces(scans)
    if any(intervals(s.data)[-1][0] + 1 < n for s, n in zip(scans, wanted, strict=True)):
        return True
    return bool(_left_of(fault(jpeg.content(scans), jpeg.frame[9]), scans[-1].data) != 0)


def _steps(jpeg: Jpeg, scans: tuple[Scan, ...]) -> float:
    """Return the mean share of the steps of each coefficient that *scans* hold."""
    wanted = {(part, k): 1 for part in jpeg.sampling for k in range(64)}
    got = dict.fromkeys(wanted, 0)
    for scan in scans:
        first, last, before, after = scan.band
        for part in scan.components:
            for k in range(first, min(last, 63) + 1):
                if (part, k) in got and not before:
                    wanted[part, k] = after + 1
                if (part, k) in got:
                    got[part, k] += 1
    return sum(min(got[at] / wanted[at], 1.0) for at in wanted) / max(len(wanted), 1)


def _left(jpeg: Jpeg, width: int, height: int, data: bytes) -> int | None:
    return _left_of(fault(jpeg.part(width, height, data), jpeg.frame[9]), data)


def _left_of(found: str, data: bytes) -> int | None:
    """Return how many bytes of *data* a picture left, filling apart; None for a fault in them."""
    behind = _BEHIND.search(found)
    if behind:
        left = int(behind[1])
        return 0 if left <= _SPARE or len(set(data[-left:])) == 1 else left
    return None if found.startswith(_FAULTS) else 0


def _before_hole(jpeg: Jpeg, width: int, height: int, data: bytes) -> bytes:
    """Return *data* of a picture of this size up to a run of zeros that is no part of it."""
    scan = replace(jpeg.scans[0], data=data)
    if ZEROS not in data or not zeros_are_flat(scan):
        return _cut(scan)
    behind = _BEHIND.search(fault(jpeg.part(width, height, data), jpeg.frame[9]))
    if not behind:
        return data
    tail = data[-int(behind[1]) :]
    zeros = len(data) - len(data.rstrip(b"\0"))
    filled = len(set(tail)) == 1 and zeros <= len(tail) + len(ZEROS)
    return data if filled else data[: data.find(ZEROS)]


def _cut(scan: Scan) -> bytes:
    at = _hole(scan)
    return scan.data if at < 0 else scan.data[:at]


def _hole(scan: Scan) -> int:
    """Return where zeros begin that no picture has, or -1."""
    at = scan.data.find(ZEROS)
    return -1 if at < 0 or zeros_are_flat(scan) else at
