"""The options of the commands as keywords, with their types; a test compares both, one by one.

Names, defaults and explanations come from the command line, where each option is declared once.
What is here is what a type checker and an editor need to know of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from offshelf.heads.probabilities.decision_settings import DecisionSettings
from offshelf.heads.probabilities.probability_model import ProbabilitySettings
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.curve import CurveSettings
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.jobs.visualise.feature_maps import Choice
from offshelf.progress import Progress

Place = str | Path
Words = str | Sequence[str]


class ReadingOptions(TypedDict, total=False):
    """How images are read, where results are kept, and who hears of the progress."""

    engine: str
    device: str
    batch_size: int | None
    workers: int | None
    cache_dir: Place | None
    cache_size: str | None
    max_pixels: int | None
    max_memory: int | str | None
    rehash: bool
    keep_damaged: bool
    run: RunSettings | None
    progress: Progress | None


class RunningOptions(ReadingOptions, total=False):
    """The same, with the precision in which the network runs."""

    precision: str


class WeightsOptions(TypedDict, total=False):
    """Where weights come from."""

    weights: Place | None
    no_download: bool


class NetworkOptions(WeightsOptions, total=False):
    """Which network, and what it sees."""

    backbone: str
    decode: str | None
    resize: str | None
    grey: str | None
    input_size: int | None
    features: FeatureSettings | None


class FeatureNetworkOptions(WeightsOptions, total=False):
    """Which network, what it sees, and layers of it or of several side by side."""

    backbone: str
    decode: str | None
    resize: str | None
    grey: str | None
    input_size: int | None
    features: str | FeatureSettings | None


class LayerOptions(FeatureNetworkOptions, total=False):
    """Which features of the network."""

    layer: str
    pooling: str


class FlipOptions(TypedDict, total=False):
    """Where mirror images are used."""

    flips: str


class DataOptions(TypedDict, total=False):
    """How labelled images are understood and split."""

    classes: Literal["outer", "inner"] | None
    corrections: Place | None
    groups: str | None
    seed: int
    test_size: float


class HeadOptions(TypedDict, total=False):
    """Which classifier."""

    head: str | HeadSettings
    C: float | Literal["auto"]
    normalisation: str
    reduction: str
    class_weight: Literal["none", "balanced"] | None


class FitOptions(RunningOptions, LayerOptions, FlipOptions, DataOptions, HeadOptions, total=False):
    """Options of ``fit``."""

    calibrate: str
    reject: float | None
    reject_by: str
    costs: Place | None
    thresholds: Mapping[str, float] | str | None
    samples: int
    errors: Place | None
    errors_page: Place | None
    probability: ProbabilitySettings | None
    decision: DecisionSettings | None


class PredictOptions(ReadingOptions, total=False):
    """Options of ``predict``."""

    weights: Place | None
    columns: Words | None
    sort_into: Place | None
    link: bool


class EvaluateOptions(ReadingOptions, total=False):
    """Options of ``evaluate``."""

    split: str
    classes: Literal["outer", "inner"] | None
    reliability: Place | None
    errors: Place | None
    errors_page: Place | None
    weights: Place | None


class ExtractOptions(RunningOptions, FeatureNetworkOptions, total=False):
    """Options of ``extract``."""

    classes: Literal["outer", "inner"] | None
    layer: Words
    pooling: Words
    seed: int


class AuditOptions(RunningOptions, LayerOptions, DataOptions, total=False):
    """Options of ``audit``."""

    html: Place | None
    out: Place | None
    hash_distance: int
    cosine: float
    margin: float
    bounds: Bounds | None


class CurveOptions(
    RunningOptions, LayerOptions, FlipOptions, DataOptions, HeadOptions, total=False
):
    """Options of ``curve``."""

    sizes: Sequence[int] | str | None
    repeats: int
    target: float | None
    settings: CurveSettings | None


class CompareOptions(ReadingOptions, DataOptions, total=False):
    """Options of ``compare``: each of the axes is one value or a list."""

    pictures: Place | None
    fit: Place | None
    prefer: Literal["accuracy", "speed", "size"]
    backbones: Words
    layers: Words
    poolings: Words
    resizes: Words
    weights: Words
    scaling: Words
    grey: Words
    precisions: Words
    flips: Words
    input_sizes: int | str | Sequence[int | str | None] | None
    concat: Words
    no_download: bool
    heads: Words
    C: float | str | Sequence[float | str]
    normalisations: Words
    reductions: Words
    class_weights: str | Sequence[str | None] | None
    transfer: bool
    yes: bool
    protocol: str
    folds: int
    repeats: int
    per_class: int
    splits: Place | None
    write_splits: Place | None


class ChannelOptions(TypedDict, total=False):
    """Which channels are drawn, and how."""

    channels: str | Sequence[int] | None
    sort: str
    limit: int | None
    scale: str
    choice: Choice | None


class MapsOptions(RunningOptions, NetworkOptions, ChannelOptions, total=False):
    """Options of ``maps``."""

    colours: str


class TopImagesOptions(MapsOptions, total=False):
    """Options of ``maps --top-images``."""

    top: int


class FiltersOptions(WeightsOptions, ChannelOptions, total=False):
    """Options of ``filters``."""

    cache_dir: Place | None
    features: FeatureSettings | None
    run: RunSettings | None
    progress: Progress | None


class ExplainOptions(ReadingOptions, total=False):
    """Options of ``explain``."""

    class_name: str | None
    label: str | None
    method: str
    smooth: bool
    colours: str
    weights: Place | None


class ClassifyOptions(RunningOptions, NetworkOptions, total=False):
    """Options of ``classify``."""

    no_normalize: bool
    train_mode: bool
    seed: int


class InspectOptions(WeightsOptions, total=False):
    """Options of ``inspect``."""

    input_size: int | None
    batch_size: int | None
    data: Place | None
    layer: Words
    pooling: Words
    engine: str
    device: str
    workers: int | None
    cache_dir: Place | None
    progress: Progress | None
