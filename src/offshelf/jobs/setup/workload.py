"""Workload of a job in fp32 and in a faster precision, measured on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offshelf import cache
from offshelf.backbones.backbone import Backbone
from offshelf.data.decode import read_bytes
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import MAX_IMAGES, EngineOptions, Tap
from offshelf.engine.openvino_engine.graph_cache import graph_folder, load_graph
from offshelf.engine.openvino_engine.int8_winograd import (
    IMAGES,
    int8_method,
    is_slower_in_int8,
)
from offshelf.engine.openvino_engine.speed_records import (
    Rates,
    expected_gain,
    known_rates,
    measured_rates,
    remember,
)
from offshelf.errors import ImageError
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.network_input import network_input
from offshelf.features.store.feature_store import FeatureStore, exists
from offshelf.jobs.setup.settings import RunSettings

# A saving below this share of the time is not worth finding out.
WORTH = 1.1
# Even calibrating on 100 images takes the time of about so many in fp32.
FEW = 400
# Seconds of timing an int8 network that is not calibrated.
TIMING = 2.0
# Seconds of a calibration apart from its images.
CALIBRATING = 3.5
# Folds of the comparison; a sample is a multiple of them.
FOLDS = 3
# Of the images that int8 is compared on, in shares of int8's own time.
TRIAL_SHARE = 0.03
MIN_SAMPLE, MAX_SAMPLE = 24, 600


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is left to do in fp32, and in a faster precision.

    Attributes:
        exact: images that have no fp32 features yet.
        faster: images that have no features in the other precision yet.
        rate: images per second of the network in fp32.
        gain: how many times as fast the other is, at least and at most; the same number
            twice where it was measured.
        calibration: seconds until the other can start.
        decoding: seconds of an image until it reaches the network.
    """

    exact: int
    faster: int
    rate: float
    gain: tuple[float, float]
    calibration: float = 0.0
    decoding: float = 0.0

    @property
    def exact_seconds(self) -> float:
        """Seconds in fp32."""
        return self.exact * (self.decoding + 1 / self.rate)

    def faster_seconds(self, gain: float) -> float:
        """Return the seconds in the other precision if it has this *gain*."""
        if not self.faster:
            return 0.0
        return self.calibration + self.faster * (self.decoding + 1 / (self.rate * gain))

    @property
    def sample(self) -> int:
        """Images on which the two may be compared: some hundredths of the work."""
        seconds = TRIAL_SHARE * self.faster_seconds(self.gain[0])
        share = seconds / (self.decoding + 1 / self.rate)
        return min(MAX_SAMPLE, max(MIN_SAMPLE, round(share)))

    def verdict(self) -> str:
        """Return ``fp32`` or ``faster``, or ``measure`` where only a measurement can tell.

        >>> Work(exact=1000, faster=1000, rate=200, gain=(2, 2), calibration=6).verdict()
        'fp32'
        >>> Work(exact=20000, faster=20000, rate=200, gain=(2, 2), calibration=6).verdict()
        'faster'
        """
        least, most = self.gain
        if self.exact_seconds < WORTH * self.faster_seconds(most) or not self.exact:
            return "fp32"
        if self.exact_seconds >= WORTH * self.faster_seconds(least):
            return "faster"
        saved = self.exact_seconds - self.faster_seconds(most)
        return "measure" if saved > TIMING else "fp32"

    def sentence(self, precision: str) -> str:
        """Return on one line why fp32 is taken."""
        if not self.exact:
            return "precision auto takes fp32: the features of all images are stored"
        seconds = self.faster_seconds(self.gain[1])
        return (
            f"precision auto takes fp32: what is left takes about {self.exact_seconds:.0f} s, "
            f"and {precision} would take {seconds:.0f} s at best"
        )


# Images of a sample: for what the store holds, and for the time that decoding takes.
LOOKED_AT, DECODED = 200, 3
# Of bf16 against fp32.
HALF_GAIN = (0.8, 2.2)
# Passes of fp32 that NNCF needs for an image.
PASSES = 4
# From this share of another rate on, two rates are the same.
SAME = 0.97


def workload(
    table: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    run: RunSettings,
    faster: EngineOptions,
) -> Work:
    """Return what is left to do in fp32 and in another precision; measure what decides.

    Raises:
        EngineError: int8 is to be measured, and NNCF is not installed.
    """
    taps = tuple(kind.tap for kind in kinds)
    plain = dataclasses.replace(faster, precision="fp32", calibration=None)
    exact = images_left(table, backbone, kinds, plain, run)
    rates = known_rates(backbone, taps, faster)
    if not exact:
        return Work(exact=0, faster=len(table), rate=rates.fp32 or 1.0, gain=(1.0, 1.0))
    if rates.fp32 is None:
        rates = measured_rates(backbone, taps, faster)
    decoding = decoding_seconds(table, backbone, run)
    work = Work(
        exact=exact,
        faster=images_left(table, backbone, kinds, faster, run),
        rate=rates.fp32 or 1.0,
        gain=_gain(rates, backbone, faster.precision),
        calibration=_calibration_seconds(backbone, taps, faster, rates, decoding),
        decoding=decoding,
    )
    if work.verdict() == "measure":
        measured = ("fp32", faster.precision)
        rates = measured_rates(backbone, taps, faster, precisions=measured)
        work = _measured(work, rates, faster)
    if work.verdict() == "faster" and work.faster and work.calibration:
        rates = _calibrated_rates(backbone, taps, faster)
        work = dataclasses.replace(_measured(work, rates, faster), calibration=0.0)
    return work


def slower_than_fp32(
    backbone: Backbone, kinds: Sequence[FeatureKind], options: EngineOptions
) -> str:
    """Return the line that says so where int8 is slower than fp32 here, else "".

    Of networks of 3 x 3 convolutions the processor tells, before int8 is calibrated. For others
    both are measured when that is done first on this machine.

    Raises:
        EngineError: NNCF is not installed.
    """
    taps = tuple(kind.tap for kind in kinds)
    rates = known_rates(backbone, taps, options)
    expected = is_slower_in_int8(backbone.spec.architecture)
    if rates.int8 is None and not expected:
        rates = _calibrated_rates(backbone, taps, options)
    measured = (rates.gain("int8") or 1.0) < SAME
    if not measured and not expected:
        return ""
    figures = f": {rates.int8:.1f} against {rates.fp32:.1f} images/s" if measured else ""
    where = "this processor" if measured else "a processor without VNNI"
    return (
        f"precision int8 is slower than fp32 with {backbone.spec.name} on {where}{figures}; "
        "use fp32"
    )


def images_left(
    table: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    options: EngineOptions,
    run: RunSettings,
) -> int:
    """Return about how many images have no features yet, from a look at up to 200 of them."""
    root, background = cache.features_folder(options.cache_dir), run.reading.limits.background
    identities = [kind.identity(backbone, options, background, kinds) for kind in kinds]
    if not all(exists(root, identity) for identity in identities):
        return len(table)
    stores = [FeatureStore(root, identity) for identity in identities]
    rows = np.random.default_rng(run.seed).permutation(len(table))[:LOOKED_AT]
    missing = 0
    for row in rows:
        # An image that cannot be read will have no features, and costs nothing.
        with contextlib.suppress(ImageError):
            digest = _sha256(table.paths[row], run)
            missing += any(digest not in store for store in stores)
    return -(-missing * len(table) // max(1, len(rows)))


def decoding_seconds(table: ImageTable, backbone: Backbone, run: RunSettings) -> float:
    """Return the seconds in which an image is read, decoded and resized, with all threads."""
    rows = np.random.default_rng(run.seed).permutation(len(table))[:DECODED]
    times = [0.0]
    for row in rows:
        began = time.process_time()
        with contextlib.suppress(ImageError):
            network_input(table.paths[row], backbone.input, run.reading.limits)
            times.append(time.process_time() - began)
    return statistics.median_low(times) / (os.cpu_count() or 1)


def _sha256(path: str, run: RunSettings) -> bytes:
    return hashlib.sha256(read_bytes(path, run.reading.limits)).digest()


def _measured(work: Work, rates: Rates, faster: EngineOptions) -> Work:
    gain = rates.gain(faster.precision) or work.gain[0]
    return dataclasses.replace(work, rate=rates.fp32 or work.rate, gain=(gain, gain))


def _gain(rates: Rates, backbone: Backbone, precision: str) -> tuple[float, float]:
    known = rates.gain(precision)
    if known is not None:
        return known, known
    return expected_gain(backbone.spec.architecture) if precision == "int8" else HALF_GAIN


def _calibration_seconds(
    backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions, rates: Rates, decoding: float
) -> float:
    if options.precision != "int8" or graph_folder(backbone, taps, options).is_dir():
        return 0.0
    if rates.calibration is not None:
        return rates.calibration
    rate = rates.fp32 or 1.0
    if int8_method(backbone.spec.architecture) == "winograd":
        return CALIBRATING + MAX_IMAGES * decoding + IMAGES / rate
    return CALIBRATING + MAX_IMAGES * (decoding + PASSES / rate)


def _calibrated_rates(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Rates:
    """Calibrate int8 where that was not done, and time what was never timed."""
    made = not graph_folder(backbone, taps, options).is_dir()
    began, used = time.perf_counter(), time.process_time()
    calibrated = load_graph(backbone, taps, options)
    if made:
        # What waited for others is no part of it.
        took = min(time.perf_counter() - began, time.process_time() - used)
        remember(backbone, taps, options, {"calibration": took})
    known = known_rates(backbone, taps, options)
    if known.int8 is not None:
        return known
    measured = ("int8",) if known.fp32 else ("fp32", "int8")
    return measured_rates(backbone, taps, options, precisions=measured, calibrated=calibrated)
