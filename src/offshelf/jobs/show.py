"""The card of a model file. The file is checked as for a prediction; nothing in it is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offshelf import files
from offshelf.backbones.catalogue.names import get_spec
from offshelf.errors import BackboneError, ModelFileError, WeightsError
from offshelf.model_file import zip_file
from offshelf.model_file.model import SCHEMAS, Model, inspect
from offshelf.opened_model import features_of
from offshelf.report.model_card import ModelCard, Part
from offshelf.text import shown


def show(model: str | Path, *, cache_dir: str | Path | None = None) -> ModelCard:
    """Return the card of a model file.

    Args:
        model: a ``.offshelf`` file.
        cache_dir: root of offshelf's own folders, searched for the weights that it needs.

    Raises:
        ModelFileError: the file is missing, damaged, or holds what a model file cannot hold.

    >>> show("vgg16")
    Traceback (most recent call last):
    ...
    offshelf.errors.ModelFileError: vgg16: no such model file; of a network, 'offshelf inspect \
vgg16' shows the parts
    """
    path = Path(model)
    _check_no_backbone(path)
    manifest, contents = zip_file.read_members(path, SCHEMAS)
    _check_finite(path, manifest)
    found = inspect(path, zip_file.parsed(path, manifest, contents))
    return ModelCard(
        path=path,
        size=path.stat().st_size,
        sha256=files.sha256_file(path),
        model=found,
        parts=tuple(_part(name, content, found) for name, content in contents.items()),
        weights=_weights(found, cache_dir),
    )


def _check_no_backbone(path: Path) -> None:
    if path.suffix or path.exists():
        return
    try:
        get_spec(str(path))
    except BackboneError:
        return
    name = shown(path)
    raise ModelFileError(
        f"{name}: no such model file; of a network, 'offshelf inspect {name}' shows the parts"
    )


def _check_finite(path: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse numbers that JSON does not have, which its reader takes."""
    try:
        json.dumps(manifest, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{shown(path)}: its manifest holds values that are none") from error


def _part(name: str, content: bytes, model: Model) -> Part:
    # Of an estimator's model, nothing was tested.
    holds = f"a {'test' if model.metrics else 'training'} image for the self-test"
    if name == zip_file.MANIFEST:
        holds = "all that is said here, as JSON"
    elif name == zip_file.TENSORS:
        arrays = sorted(model.head.arrays.items())
        words = [f"{key} {' x '.join(f'{side:,}' for side in one.shape)}" for key, one in arrays]
        holds = f"the classifier: {', '.join(words)}"
        int8 = sum(bool(one.calibrated) for one in model.features.networks)
        holds += ("; its int8 network" if int8 == 1 else f"; {int8} int8 networks") if int8 else ""
    return Part(name, len(content), files.sha256_bytes(content), holds)


def _weights(model: Model, cache_dir: str | Path | None) -> str:
    try:
        features = features_of(model, cache_dir=cache_dir)
    except WeightsError:
        return ""
    files_of = [backbone.file for backbone in features.backbones]
    return ", ".join(dict.fromkeys(str(file.path or file.origin) for file in files_of))
