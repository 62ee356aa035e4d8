"""Decision of ``--precision auto`` for a table: its bounds, and its file in the cache.

A kept decision holds for the same table, seed, network, layers, processor and engine, and only
while the features that it led to are stored: then nothing is left to compare.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from offshelf import files, sealed_json
from offshelf.backbones.backbone import Backbone
from offshelf.cache import Usage
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import EngineOptions
from offshelf.engine.openvino_engine.graph_cache import graph_folder
from offshelf.engine.selection import numeric_environment
from offshelf.features.feature_kind import FeatureKind

VERSION = 1
_SAID = "precision auto "


def reason_among(notes: Sequence[str]) -> str:
    """Return in a few words why ``auto`` chose, from what it said.

    >>> reason_among(["precision auto takes fp32: with 60 images no other pays"])
    'with 60 images no other pays'
    >>> reason_among(["precision auto does not take int8: slower (bound 1)", "precision auto ..."])
    'does not take int8: slower'
    """
    said = [note.removeprefix(_SAID) for note in notes if note.startswith(_SAID) and ": " in note]
    if not said:
        return ""
    last = re.sub(r" \(bound [^)]*\)", "", said[-1])
    return last.partition(": ")[2] if last.startswith("takes ") else last


def decision_file(
    table: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    sample: EngineOptions,
    seed: int,
) -> Path:
    """Return where the decision is kept; *sample* are the options of int8 with its calibration."""
    taps = tuple(kind.tap for kind in kinds)
    key = [VERSION, numeric_environment(sample, taps), sample.precision_key, sample.threads, seed]
    groups = [list(table.groups)] if table.groups else []
    digest = files.sha256_json([*key, list(table.paths), table.targets().tolist(), *groups])
    return graph_folder(backbone, taps, sample.in_fp32()) / f"decision-{digest[:16]}.json"


def still_good(
    path: Path, tried: Sequence[EngineOptions], left: Callable[[EngineOptions], int]
) -> tuple[EngineOptions, tuple[str, ...]] | None:
    """Return which of *tried* was taken and why; None where no decision is kept at *path*.

    None also where images have no features under those options, which *left* counts. A damaged
    file is set aside.
    """
    if not path.parent.is_dir():
        return None
    with contextlib.closing(Usage(path.parent)):
        document = sealed_json.read(path)
    if document is None:
        return None
    precision, notes = document.get("precision"), document.get("notes")
    if precision not in {"int8", "bf16"} or not isinstance(notes, list):
        sealed_json.set_aside(path)
        return None
    for options in tried:
        if options.precision == precision and not left(options):
            return options, tuple(map(str, notes))
    return None


def keep_decision(path: Path, precision: str, notes: Sequence[str]) -> None:
    """Write which precision was taken, and the lines that said why.

    Not being able to only costs the next run the same comparison.
    """
    with contextlib.suppress(OSError):
        sealed_json.write(path, {"precision": precision, "notes": list(notes)})
