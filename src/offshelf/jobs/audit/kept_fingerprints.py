"""Cache of fingerprints, by the sha256 of the image's bytes.

They lie in a feature store of their own, with all its care: as rows of whole numbers below
65,536, which 32-bit floats hold exactly.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.cache import features_folder
from offshelf.data.decoding.limits import Facts, Limits, check_facts
from offshelf.data.lookalikes import Fingerprint
from offshelf.errors import ImageError, StoreError
from offshelf.features.feature_kind import decoding_identity
from offshelf.features.store.feature_store import FeatureStore

# Raised with every change of what a fingerprint says of the same pixels.
VERSION = 1
# Hash, width, height, mode, whether it is coloured, brightness, contrast, sharpness.
_ROW = struct.Struct("<QII8s?x3d")
_COLUMNS = _ROW.size // 2


class KeptFingerprints:
    """The fingerprints in the cache; without one nothing is kept.

    Args:
        cache: its folder, None for the usual one.
        limits: of this run; those that are kept are judged by them as if decoded again.
    """

    def __init__(self, cache: str | Path | None, limits: Limits) -> None:
        self._limits = limits
        self._store: FeatureStore | None = None
        identity = {"fingerprints": VERSION, "decoding": decoding_identity(limits.background)}
        with contextlib.suppress(StoreError):
            self._store = FeatureStore(features_folder(cache), identity, _COLUMNS)

    def find(self, digests: Sequence[bytes]) -> list[Fingerprint | ImageError | None]:
        """Return what decoding each image would give, None where that must be done."""
        found: list[Fingerprint | ImageError | None] = [None] * len(digests)
        if self._store is None:
            return found
        usable = []
        for place, digest in enumerate(digests):
            facts = self._store.facts(digest)
            if facts is None:
                continue
            try:
                check_facts(facts, self._limits)
                usable.append(place)
            except ImageError as error:
                found[place] = error
        with contextlib.suppress(StoreError):
            for place, row in zip(
                usable, self._store.read([digests[p] for p in usable]), strict=True
            ):
                found[place] = unpacked(row)
        return found

    def add(self, digest: bytes, found: Fingerprint, facts: Facts) -> None:
        """Keep a fingerprint."""
        with contextlib.suppress(StoreError, struct.error):
            if self._store is not None:
                self._store.append(digest, packed(found), facts)

    def flush(self) -> None:
        """Write what is new; where it cannot be written, it is made again."""
        with contextlib.suppress(StoreError):
            if self._store is not None:
                self._store.flush()


def packed(found: Fingerprint) -> NDArray[np.float32]:
    """Return a fingerprint as a row of a store.

    Raises:
        struct.error: it does not fit.
    """
    mode = found.mode.encode()
    if len(mode) > 8:
        raise struct.error("a longer mode than Pillow has")
    content = _ROW.pack(
        found.hash,
        found.width,
        found.height,
        mode,
        found.coloured,
        found.brightness,
        found.contrast,
        found.sharpness,
    )
    return np.frombuffer(content, "<u2").astype(np.float32)


def unpacked(row: NDArray[np.float32]) -> Fingerprint:
    """Return the fingerprint that :func:`packed` made a row of."""
    values = _ROW.unpack(row.astype("<u2").tobytes())
    dct, width, height, mode, coloured, brightness, contrast, sharpness = values
    return Fingerprint(
        width=width,
        height=height,
        mode=mode.rstrip(b"\0").decode(),
        coloured=coloured,
        hash=dct,
        brightness=brightness,
        contrast=contrast,
        sharpness=sharpness,
    )
