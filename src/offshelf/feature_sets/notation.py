"""The notation of feature sets: ``efficientnet_lite0:penultimate+stage6/pyramid``.

A set is parts joined by ``+`` (side by side) or by ``*`` (their product). A part is
``BACKBONE[@SIZE]:LAYER[/POOLING[/NORMALISATION]]``; a layer without a backbone is of the one
before it, and a backbone without a layer gives its deepest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from offshelf.backbones.backbone import DEEPEST
from offshelf.backbones.catalogue.names import is_backbone
from offshelf.engine.contract import check_pooling
from offshelf.errors import OffshelfError, check_choice

PRODUCT, SIDE_BY_SIDE = "*", "+"
MAX_PARTS = 16
# Of the parts of a set, before they are joined.
PartNormalisation = Literal["l2", "sqrt", "none"]
PART_NORMALISATIONS: tuple[PartNormalisation, ...] = get_args(PartNormalisation)
L2: PartNormalisation = "l2"
PLAIN: PartNormalisation = "none"
_BACKBONE = re.compile(r"(?P<name>((timm|torchvision)/)?[\w.-]+)(@(?P<size>[^:/]*))?")


@dataclass(frozen=True, kw_only=True)
class NamedPart:
    """A part as it was written.

    Attributes:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        size: side of the input in pixels; None for that of the weights.
        layer: a layer name, a module path, or ``deepest``.
        pooling: None where none was written.
        normalisation: ``l2``, ``sqrt`` or ``none``; None where none was written.
    """

    backbone: str
    size: int | None = None
    layer: str = DEEPEST
    pooling: str | None = None
    normalisation: PartNormalisation | None = None


@dataclass(frozen=True)
class NamedSet:
    """A feature set as it was written: its parts, and whether they are multiplied."""

    parts: tuple[NamedPart, ...]
    product: bool = False


def read_features(text: str, backbone: str) -> NamedSet:
    """Return what *text* says.

    Args:
        text: see the module's text.
        backbone: of layers before any backbone is named.

    Raises:
        LayerError: a pooling is unknown.
        OffshelfError: the text is no feature set, or has too many parts, or one of them twice.

    >>> [part.layer for part in read_features("penultimate+stage6", "efficientnet_lite0").parts]
    ['penultimate', 'stage6']
    >>> read_features("vgg16@320:pool5/max * efficientnet_lite0", "vgg16").parts[0].size
    320
    """
    product = PRODUCT in text
    if product and SIDE_BY_SIDE in text:
        raise OffshelfError(_unreadable(text, "it mixes + and *"))
    words = [word.strip() for word in text.split(PRODUCT if product else SIDE_BY_SIDE)]
    if not all(words):
        raise OffshelfError(_unreadable(text, "a part is empty"))
    parts = tuple(_parts(text, words, backbone))
    if len(parts) > MAX_PARTS:
        raise OffshelfError(f"the features {text!r} have {len(parts)} parts: at most {MAX_PARTS}")
    if product and len(parts) < 2:
        raise OffshelfError(f"the features {text!r} are a product of one part: name several")
    if len(set(parts)) < len(parts):
        raise OffshelfError(f"the features {text!r} name a part twice")
    return NamedSet(parts, product)


def _parts(text: str, words: list[str], backbone: str) -> Iterator[NamedPart]:
    name, size = backbone, None
    for word in words:
        head, layer = _divided(word)
        if head:
            name, size = _backbone(text, head)
        yield _part(text, name, size, layer)


def _divided(word: str) -> tuple[str, str]:
    """Return the backbone and the layer of a part, "" for what it does not have."""
    before, colon, after = word.partition(":")
    # A layer may end in ":in", the input of a module, and a pooling may have a number.
    if colon and _BACKBONE.fullmatch(before) and after.partition("/")[0] != "in":
        return before, after
    found = _BACKBONE.fullmatch(word)
    if found and (found["size"] is not None or is_backbone(found["name"])):
        return word, ""
    return "", word


def _backbone(text: str, word: str) -> tuple[str, int | None]:
    found = _BACKBONE.fullmatch(word)
    if found is None:
        raise OffshelfError(_unreadable(text, f"{word!r} is no backbone"))
    size = found["size"]
    if size is None:
        return found["name"], None
    if not re.fullmatch("[1-9][0-9]{0,4}", size):
        raise OffshelfError(_unreadable(text, f"the size {size!r} is no number of pixels"))
    return found["name"], int(size)


def _part(text: str, backbone: str, size: int | None, word: str) -> NamedPart:
    layer, *more = word.split("/")
    if len(more) > 2 or (word and not layer):
        raise OffshelfError(_unreadable(text, f"{word!r} is no LAYER/POOLING/NORMALISATION"))
    pooling, word = [*more, "", ""][:2]
    if word:
        check_choice("part normalisation", word, PART_NORMALISATIONS, OffshelfError)
    return NamedPart(
        backbone=backbone,
        size=size,
        layer=layer or DEEPEST,
        pooling=check_pooling(pooling) if pooling else None,
        normalisation=cast(PartNormalisation, word) if word else None,
    )


def _unreadable(text: str, why: str) -> str:
    return (
        f"cannot read the features {text!r}: {why}; write BACKBONE:LAYER+LAYER or "
        "A:LAYER+B:LAYER, with * for a product, and LAYER/POOLING for another pooling"
    )


def spoken(parts: Sequence[NamedPart], product: bool) -> str:
    """Return networks, layers and poolings for a person.

    >>> spoken(read_features("vgg16:pool5/avg+pool4/avg", "").parts, product=False)
    'vgg16 pool5 + pool4, avg'
    """
    sign = f" {PRODUCT if product else SIDE_BY_SIDE} "
    poolings = list(dict.fromkeys(part.pooling for part in parts))
    simple = all((part.backbone, part.size) == (parts[0].backbone, None) for part in parts)
    if not simple:
        return written(parts, product).replace(sign.strip(), sign)
    if len(poolings) == 1:
        layers = sign.join(part.layer for part in parts)
        return f"{parts[0].backbone} {layers}, {poolings[0]}"
    return f"{parts[0].backbone} " + sign.join(f"{p.layer} ({p.pooling})" for p in parts)


def written(parts: Sequence[NamedPart], product: bool, usual: str = "avg") -> str:
    """Return the notation of parts, without what goes without saying.

    >>> parts = read_features("efficientnet_lite0:stage6/avg+stage5/max/l2", "").parts
    >>> written(parts, product=False)
    'efficientnet_lite0:stage6+stage5/max'
    """
    words, before = [], None
    for part in parts:
        size = "" if part.size is None else f"@{part.size}"
        head = f"{part.backbone}{size}"
        own = PLAIN if len(parts) == 1 else L2
        extra = part.normalisation if part.normalisation not in (None, own) else ""
        pooling = part.pooling if part.pooling not in (None, usual) else ""
        layer = "/".join([part.layer, *([pooling or usual, extra] if extra else [pooling])])
        layer = layer.rstrip("/")
        words.append(layer if head == before else f"{head}:{layer}")
        before = head
    return (PRODUCT if product else SIDE_BY_SIDE).join(words)
