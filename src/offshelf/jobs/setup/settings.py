"""Settings of a job, whose defaults are the recommended choice, and opening of its network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.engine.contract import EngineOptions
from offshelf.feature_sets.feature_set import NO_FLIPS, FeatureSet
from offshelf.feature_sets.opening import named_set, opened_set
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import DEFAULT_LAYER, DEFAULT_POOLING
from offshelf.features.reader import ReadOptions
from offshelf.jobs.setup.run_costs import Clock
from offshelf.progress import Progress, Silent

DEFAULT_BACKBONE = "efficientnet_lite0"


@dataclass(frozen=True)
class FeatureSettings:
    """Which features.

    Attributes:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        layer: a layer name or a module path.
        pooling: ``flatten``, ``avg``, ``max``, ``gem``, ``pyramid`` or ``pyramid:N``.
        weights: a file, the tag of a known weights file, ``random``, or None to search.
        resize: ``squash``, ``crop``, ``letterbox``, or None for the weights' own.
        grey: ``replicate``, ``summed`` or ``luma``, or None for ``replicate``.
        decode: ``full``, or ``reduced`` for large JPEG photos; None for ``full``.
        features: a feature set in place of *layer*, see :mod:`offshelf.feature_sets.notation`:
            its parts without a backbone are of *backbone*, those without a pooling have
            *pooling*; None for one layer.
        input_size: side of the input in pixels, 32 to 1024; None for the weights' own.
        flips: ``none``, or where mirror images are used: in ``training``, ``prediction`` or
            ``both``.
        download: whether weights may be fetched when they are nowhere on this machine.

    >>> FeatureSettings("vgg16", layer="pool5").pooling
    'avg'
    """

    backbone: str = DEFAULT_BACKBONE
    _: KW_ONLY
    layer: str = DEFAULT_LAYER
    pooling: str = DEFAULT_POOLING
    weights: str | None = None
    resize: str | None = None
    grey: str | None = None
    decode: str | None = None
    features: str | None = None
    input_size: int | None = None
    flips: str = NO_FLIPS
    download: bool = True


@dataclass(frozen=True)
class HeadSettings:
    """Which classifier on the features.

    Attributes:
        head: ``svm``, ``logistic``, ``ridge``, ``lda``, ``knn`` or ``knn:NEIGHBOURS``,
            ``centroid``, ``fc`` or ``fc:HIDDEN_UNITS``.
        c: inverse strength of the regularisation, > 0; ``auto`` chooses it by
            cross-validation on the training images.
        normalisation: of each feature row: ``l2``, ``none``, ``standard`` or ``sqrt``.
        reduction: of the dimensions: ``none``, ``pca:N``, ``whiten:N`` or ``random:N``.
        class_weight: ``balanced`` gives every class the same weight, None every image.
    """

    head: str = "svm"
    _: KW_ONLY
    c: float | Literal["auto"] = 1.0
    normalisation: str = "l2"
    reduction: str = "none"
    class_weight: str | None = None


@dataclass(frozen=True)
class RunSettings:
    """How the work is done.

    Attributes:
        engine: engine, device, batch size, cache folder.
        reading: threads that read and decode, bounds on bytes and pixels.
        seed: of every random choice.
        test_size: share of images for the test split where the data has none, in (0, 1).
        samples: test images kept in the model file for its self-test, 0 to 16.
        classes: where folders lie in folders, ``outer`` or ``inner`` says which are the
            classes; "" takes what is certain.
        corrections: a CSV file of decisions about labels, as ``audit`` writes it.
        groups: whose images stay together in every split: a column of DATA, ``FILE:COLUMN``, a
            regular expression on file names, or ``none``; None takes the column ``group`` of a
            table that has one.
    """

    engine: EngineOptions = field(default_factory=EngineOptions)
    _: KW_ONLY
    reading: ReadOptions = field(default_factory=ReadOptions)
    seed: int = 0
    test_size: float = 0.25
    samples: int = 3
    classes: str = ""
    corrections: str | None = None
    groups: str | None = None


@dataclass(frozen=True, eq=False)
class JobContext:
    """How a job runs.

    Attributes:
        run: engine, seed, split, limits.
        progress: receives notes, and how far the work is.
        clock: receives the seconds of each stage.
    """

    run: RunSettings
    progress: Progress
    clock: Clock

    @classmethod
    def of(cls, run: RunSettings | None, progress: Progress | None) -> JobContext:
        """Return the context of a job that begins now, with defaults for what is None."""
        return cls(run or RunSettings(), progress or Silent(), Clock())


def backbone_for(
    settings: FeatureSettings | None, run: RunSettings, progress: Progress
) -> Backbone:
    """Open the backbone that the settings name; note it when its weights are random.

    Args:
        settings: backbone, weights, and what deviates from the weights' own preprocessing;
            None for the defaults.
        run: the cache folder.
        progress: receives notes, and how far a download is.

    Returns:
        Name, weights file and preprocessing. The network itself is built when it is first run:
        from uint8 images, N x S x S x 3, to float32.

    Raises:
        BackboneError: no backbone has that name.
        WeightsError: the weights are not on this machine and cannot be fetched.

    >>> settings = FeatureSettings("resnet18", weights="random")
    >>> progress = Silent()
    >>> backbone_for(settings, RunSettings(), progress).trained, progress.notes
    (False, ['resnet18: random weights; every result is of an UNTRAINED network'])
    """
    settings = settings or FeatureSettings()
    backbone = _opened(settings, settings.backbone, settings.input_size, run, progress)
    backbone.note_untrained(progress)
    return backbone


def _opened(
    settings: FeatureSettings, name: str, size: int | None, run: RunSettings, progress: Progress
) -> Backbone:
    return open_backbone(
        name,
        weights=settings.weights,
        resize=settings.resize,
        grey=settings.grey,
        decode=settings.decode,
        size=size,
        cache_dir=run.engine.cache_dir,
        download=settings.download,
        progress=progress,
    )


def feature_set_for(
    settings: FeatureSettings | None, run: RunSettings, progress: Progress
) -> FeatureSet:
    """Open the networks of the features that the settings name; as :func:`backbone_for`.

    Raises:
        BackboneError: no backbone has such a name.
        LayerError: a network has no such layer.
        OffshelfError: the settings contradict each other, or cannot be read.
        WeightsError: weights are not on this machine and cannot be fetched.

    >>> print(feature_set_for(FeatureSettings(), RunSettings(), Silent()))
    efficientnet_lite0:penultimate
    """
    settings = settings or FeatureSettings()
    named = named_set(settings.features, settings.backbone, settings.layer, settings.weights)

    def open_one(name: str, size: int | None) -> Backbone:
        backbone = _opened(settings, name, size, run, progress)
        backbone.note_untrained(progress)
        return backbone

    return opened_set(
        named,
        open_one,
        pooling=settings.pooling,
        flips=settings.flips,
        size=settings.input_size,
        seed=run.seed,
    )


def describe_run(extraction: Extraction) -> dict[str, Any]:
    """Return what a result says of how its features were computed, as JSON values."""
    return {
        "engine": extraction.engine,
        "precision": extraction.precision,
        "precision_reason": extraction.reason or None,
        "computed": extraction.computed,
    }


def precision_facts(extraction: Extraction) -> Iterator[tuple[str, str]]:
    """Yield which precision ``auto`` chose and why; nothing where it was asked for."""
    if extraction.reason:
        word = extraction.precision.partition("-")[0]
        yield "precision", f"{word}, chosen by auto: {extraction.reason}"


def describe_features(features: FeatureSet) -> dict[str, Any]:
    """Return what a result says of its features, as JSON values."""
    names = " + ".join(backbone.spec.name for backbone in features.backbones)
    return {**describe(features.backbone), "backbone": names, **features.describe()}


def describe(backbone: Backbone) -> dict[str, Any]:
    """Return what a result says of the network it came from, as JSON values."""
    return {
        "backbone": backbone.spec.name,
        "weights": backbone.file.spec.tag,
        "weights_sha256": backbone.file.sha256,
        "trained_weights": backbone.trained,
        "resize": backbone.input.resize,
        "grey": backbone.input.channels,
        "decode": backbone.input.decode,
        "input_size": backbone.input.size,
    }
