"""A backbone: the network's spec, one weights file, its preprocessing, and choices of layers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.named_layers import Layer, all_layers, named_layers
from offshelf.backbones.specification.spec import (
    CHANNELS,
    DECODES,
    RESIZES,
    BackboneSpec,
    InputSpec,
)
from offshelf.backbones.weights_file import locate as weights_files
from offshelf.backbones.weights_file.locate import WeightsFile
from offshelf.card import Card
from offshelf.errors import BackboneError, LayerError, WeightsError, check_choice
from offshelf.progress import Progress

# Sides of an input other than the weights' own, in pixels.
SMALLEST_SIZE, LARGEST_SIZE = 32, 1024


@dataclass(frozen=True, repr=False)
class Backbone(Card):
    """A network together with its weights file and the preprocessing in force.

    Attributes:
        spec: architecture, known weights and layer names.
        file: the weights file in use.
        input: the preprocessing of that file, with the caller's resize and channel
            policy, if any.
    """

    spec: BackboneSpec
    file: WeightsFile
    input: InputSpec

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the network, its weights, and what becomes of an image."""
        size, parameters = self.input.size, self.spec.parameters
        yield (
            "network",
            f"{self.spec.name}, {parameters:,} parameters" if parameters else self.spec.name,
        )
        where = f"{self.file.origin}, sha256 {self.file.sha256[:16]}..."
        yield "weights", where if self.trained else "random: UNTRAINED network"
        yield "input", f"{size} x {size} pixels, {self.input.resize}{self.changed}"

    @property
    def changed(self) -> str:
        """What was asked for in place of the weights' own preprocessing, to end a line; or ""."""
        return self._changed(self.file.spec.input)

    @property
    def changed_but_size(self) -> str:
        """The same without the size of the input."""
        return self._changed(dataclasses.replace(self.file.spec.input, size=self.input.size))

    def _changed(self, own: InputSpec) -> str:
        changes = self.input.changes(own)
        return f"; {', '.join(changes)}" if changes else ""

    @property
    def trained(self) -> bool:
        """False for random weights: then no result says anything about images."""
        return self.file.trained

    def note_untrained(self, progress: Progress) -> None:
        """Say that the weights are random, where they are."""
        if not self.trained:
            name = self.spec.name
            progress.note(f"{name}: random weights; every result is of an UNTRAINED network")

    def without_normalisation(self) -> Backbone:
        """Return the backbone with pixels scaled to [0, 1] and nothing else."""
        plain = dataclasses.replace(self.input, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return dataclasses.replace(self, input=plain)

    def identity(self) -> dict[str, Any]:
        """Return the key of the features: network, weights hash, preprocessing."""
        return {
            "source": self.spec.source,
            "architecture": self.spec.architecture,
            "weights": self.file.sha256,
            "input": self.input.to_json(),
        }

    def path_of(self, layer: str) -> str:
        """Return the module path of *layer*, without loading torch where that is possible.

        Raises:
            LayerError: there is no such layer.
        """
        from offshelf.backbones import named_layers

        known = named_layers.known_path(self.spec, layer)
        return known or named_layers.resolve(self.spec, layer, self.input.size).path

    def calls(self, path: str) -> int:
        """Return how often the module at *path* runs in one pass.

        Each catalogued layer runs once; only for others the network has to be looked at.

        Raises:
            LayerError: there is no such layer, or the weights file ends before it.
        """
        if not self.file.spec.covers and path in dict(self.spec.layers).values():
            return 1
        return int(self.require(path).calls)

    def require(self, layer: str) -> Any:
        """Return the :class:`Layer`, after checking that the weights reach it.

        Raises:
            LayerError: there is no such layer, or the weights file ends before it.
        """
        from offshelf.backbones import named_layers

        row = named_layers.resolve(self.spec, layer, self.input.size)
        covers = set(self.file.spec.covers)
        if covers and not row.needs <= covers:
            raise LayerError(self._beyond(row.name))
        return row

    def _beyond(self, layer: str) -> str:
        deepest = self.deepest()
        full = next((w for w in self.spec.weights if not w.covers), None)
        bring = (
            f"; bring the full weights, {full.file_name}, with "
            f"'offshelf weights add FILE --backbone {self.spec.name}'"
            if full
            else ""
        )
        name = self.file.path.name if self.file.path else self.file.spec.file_name
        return (
            f"{self.spec.name}: {layer} needs tensors that {name} does not hold: "
            f"it covers the layers up to {deepest}{bring}"
        )

    def deepest(self) -> str:
        """Return the name of the deepest layer that the weights cover.

        Raises:
            WeightsError: they cover none.
        """
        from offshelf.backbones import named_layers

        covers = set(self.file.spec.covers)
        rows = named_layers.named_layers(self.spec, self.input.size)
        covered = [row.name for row in rows if not covers or row.needs <= covers]
        if not covered:
            raise WeightsError(
                f"{self.file.path}: does not fit its backbone: it covers no layer of "
                f"{self.spec.name}; give the file to the backbone that it belongs to"
            )
        return covered[-1]


def open_backbone(
    name: str,
    *,
    weights: str | None = None,
    resize: str | None = None,
    grey: str | None = None,
    decode: str | None = None,
    size: int | None = None,
    cache_dir: str | Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Backbone:
    """Open a backbone: find its weights, and set how images are prepared for them.

    Args:
        name: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        weights: a file, the tag of a known weights file, ``random``, or None to search.
        resize: ``squash``, ``crop`` or ``letterbox`` instead of the weights' own.
        grey: ``replicate``, ``summed`` or ``luma``: see
            :class:`offshelf.backbones.specification.spec.InputSpec`; None for ``replicate``.
        decode: ``full`` or ``reduced``, likewise; None for ``full``.
        size: side of the input in pixels, 32 to 1024, instead of the weights' own.
        cache_dir: the root of offshelf's own folders.
        download: whether weights that are nowhere on this machine may be fetched.
        progress: receives downloads and notes.

    Raises:
        BackboneError: the name, the resize mode or the channel policy is unknown, or the size
            is out of range.
        WeightsError: the weights are not here, or are not what they should be.

    >>> open_backbone("efficientnet_lite0").input.size
    224
    """
    spec = get_spec(name)
    file = weights_files.locate(
        spec, weights=weights, cache_dir=cache_dir, download=download, progress=progress
    )
    words = {"resize": resize, "channels": grey, "decode": decode}
    preprocessing = _adjusted(file.spec.input, words)
    if size is not None:
        preprocessing = dataclasses.replace(preprocessing, size=_checked_size(size))
    return Backbone(spec, file, preprocessing)


def _checked_size(size: int) -> int:
    if type(size) is not int or not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise BackboneError(
            f"no input size {size!r}: a whole number of pixels, {SMALLEST_SIZE} to {LARGEST_SIZE}"
        )
    return size


def _adjusted(preprocessing: InputSpec, words: dict[str, str | None]) -> InputSpec:
    """Return *preprocessing* with the fields that *words* give, unless they are None."""
    kinds = {
        "resize": ("resize mode", RESIZES),
        "channels": ("channel policy", CHANNELS),
        "decode": ("decoding", DECODES),
    }
    changes: dict[str, Any] = {field: word for field, word in words.items() if word is not None}
    for field, word in changes.items():
        what, known = kinds[field]
        check_choice(what, word, known, BackboneError)
    return dataclasses.replace(preprocessing, **changes)


ALL, DEEPEST = "all", "deepest"
PENULTIMATE, LOGITS = "penultimate", "logits"
# Names of the ends of stages in catalogued networks; relu6 is between pool5 and penultimate.
_STAGE = re.compile(r"(stem|(stage|pool|block|fire)\d+|relu6)$")


def chosen_layers(backbone: Backbone, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the layers that *words* stand for, each once, in the order of the words.

    Raises:
        LayerError: the backbone has no such layer, or its weights do not reach it.

    >>> from offshelf.backbones.backbone import open_backbone
    >>> chosen_layers(open_backbone("efficientnet_lite0"), ("stem", "deepest"))
    ('stem', 'penultimate')
    """
    found: list[str] = []
    for word in words:
        if word == ALL:
            found += stage_layers(backbone)
        elif word == DEEPEST:
            found.append(deepest_layer(backbone))
        else:
            if backbone.file.spec.covers or word not in dict(backbone.spec.layers):
                backbone.require(word)
            found.append(word)
    by_path: dict[str, str] = {}
    for name in found:
        by_path.setdefault(backbone.path_of(name), name)
    return tuple(by_path.values())


def deepest_layer(backbone: Backbone) -> str:
    """Return ``penultimate``, or the deepest named layer before it that the weights reach.

    >>> from offshelf.backbones.backbone import open_backbone
    >>> deepest_layer(open_backbone("alexnet", weights="random"))
    'penultimate'
    """
    if not backbone.file.spec.covers and PENULTIMATE in dict(backbone.spec.layers):
        # Known without building the network, which costs seconds.
        return PENULTIMATE
    names = [row.name for row in _reached(backbone)]
    return PENULTIMATE if PENULTIMATE in names else names[-1]


def stage_layers(backbone: Backbone) -> tuple[str, ...]:
    """Return one layer of each stage, by depth.

    Of a network without named stages it is the last layer at each resolution.

    >>> from offshelf.backbones.backbone import open_backbone
    >>> stage_layers(open_backbone("resnet18", weights="random"))
    ('pool1', 'stage1', 'stage2', 'stage3', 'stage4', 'penultimate')
    """
    named = [row.name for row in _reached(backbone) if _STAGE.match(row.name)]
    return (*(named or _by_resolution(backbone)), deepest_layer(backbone))


def _reached(backbone: Backbone) -> list[Layer]:
    covers = set(backbone.file.spec.covers)
    rows = named_layers(backbone.spec, backbone.input.size)
    return [r for r in rows if r.name != LOGITS and (not covers or r.needs <= covers)]


def _by_resolution(backbone: Backbone) -> list[str]:
    last: dict[tuple[int, ...], str] = {}
    for row in all_layers(backbone.spec, backbone.input.size):
        if len(row.shape) == 3:
            sides = row.shape[:2] if backbone.spec.channels_last else row.shape[1:]
            last[sides] = row.name
    return list(last.values())
