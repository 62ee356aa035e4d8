"""Opening of a job: its settings with their defaults, its network, and what results say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.jobs.setup.run_costs import Clock
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.progress import Progress, Silent


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
    backbone = open_backbone(
        settings.backbone,
        weights=settings.weights,
        resize=settings.resize,
        grey=settings.grey,
        decode=settings.decode,
        cache_dir=run.engine.cache_dir,
        download=settings.download,
        progress=progress,
    )
    backbone.note_untrained(progress)
    return backbone


def note_all(progress: Progress, lines: Iterable[str]) -> None:
    """Pass every line to *progress*."""
    for line in lines:
        progress.note(line)


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
    }
