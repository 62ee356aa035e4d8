"""What ``--precision auto`` decided for a table, kept beside the network's graph.

It is good for the same table, seed, network, layers, processor and engine, and only while the
features that it led to are stored: then nothing is left to compare.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from offshelf import files, sealed_json
from offshelf.backbones.backbone import Backbone
from offshelf.cache import Usage
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import EngineOptions
from offshelf.engine.openvino_engine.graph_cache import graph_folder
from offshelf.engine.selection.numeric_environment import numeric_environment
from offshelf.features.feature_kind import FeatureKind

VERSION = 1
MIN_COSINE = 0.97
MAX_ACCURACY_LOSS = 0.01


@dataclass(frozen=True, kw_only=True)
class PrecisionTrial:
    """What a sample of training images says of a precision against fp32.

    Attributes:
        precision: ``int8``, ``bf16`` or ``fp16``.
        cosine: mean cosine between its features and the fp32 features of an image.
        fp32: cross-validated accuracy on fp32 features, 0 to 1.
        accuracy: the same on its features.
        images: size of the sample.
    """

    precision: str
    cosine: float
    fp32: float
    accuracy: float
    images: int

    @property
    def accepted(self) -> bool:
        """Whether it stays within the bounds: cosine 0.97, one point of accuracy."""
        return self.cosine >= MIN_COSINE and self.fp32 - self.accuracy <= MAX_ACCURACY_LOSS

    def sentence(self) -> str:
        """Return the decision and its reason on one line."""
        verb = "takes" if self.accepted else "does not take"
        return (
            f"precision auto {verb} {self.precision}: on {self.images} training images its "
            f"features have cosine {self.cosine:.3f} to fp32 (bound {MIN_COSINE}) and "
            f"{self.accuracy:.1%} cross-validated accuracy against {self.fp32:.1%} "
            f"(bound {MAX_ACCURACY_LOSS:.0%} less)"
        )


@dataclass(frozen=True)
class Decision:
    """The precision that was taken, and the lines that said why."""

    precision: str
    notes: tuple[str, ...]


def decision_file(
    table: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    sample: EngineOptions,
    seed: int,
) -> Path:
    """Return where the decision is kept.

    Args:
        table: the images and their labels.
        backbone: the network.
        kinds: the features that are wanted.
        sample: the options of int8, with the digest of the images that it is calibrated on.
        seed: of the sample.
    """
    taps = tuple(kind.tap for kind in kinds)
    key = [VERSION, numeric_environment(sample, taps), sample.precision_key, sample.threads, seed]
    digest = files.sha256_json([*key, list(table.paths), table.targets().tolist()])
    return graph_folder(backbone, taps, sample.in_fp32()) / f"decision-{digest[:16]}.json"


def kept_decision(path: Path) -> Decision | None:
    """Return the decision at *path*, None where there is none; a damaged one is set aside."""
    if not path.parent.is_dir():
        return None
    with contextlib.closing(Usage(path.parent)):
        document = sealed_json.read(path)
    if document is None:
        return None
    notes = document.get("notes")
    if document.get("precision") in {"int8", "bf16"} and isinstance(notes, list):
        return Decision(document["precision"], tuple(map(str, notes)))
    sealed_json.set_aside(path)
    return None


def still_good(
    path: Path, tried: Sequence[EngineOptions], left: Callable[[EngineOptions], int]
) -> tuple[EngineOptions, tuple[str, ...]] | None:
    """Return what was taken and why, where *left* says that none of its features is missing.

    Args:
        path: where the decision is kept.
        tried: the options to choose from.
        left: counts the images that have no features under some options.
    """
    kept = kept_decision(path)
    for options in tried:
        if kept is not None and options.precision == kept.precision and not left(options):
            return options, kept.notes
    return None


def keep_decision(path: Path, decision: Decision) -> None:
    """Write *decision*; not being able to only costs the next run the same comparison."""
    with contextlib.suppress(OSError):
        sealed_json.write(path, {"precision": decision.precision, "notes": list(decision.notes)})
