"""The layers that ``all`` and ``deepest`` stand for: one of each stage that the weights reach."""

from __future__ import annotations

import re

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import Layer, all_layers, named_layers

ALL, DEEPEST = "all", "deepest"
PENULTIMATE, LOGITS = "penultimate", "logits"
# What catalogued networks call the end of a stage; relu6 stands between pool5 and penultimate.
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
