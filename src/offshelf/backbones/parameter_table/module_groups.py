"""Group and function of a module, as the parameter table names them.

Modules are told apart by their class: torch's own classes, then words in the class name
(``LayerNorm2d``, ``SelectAdaptivePool2d``), so that other libraries' layers find their group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import torch

Group = Literal[
    "convolution",
    "pooling",
    "linear",
    "attention",
    "other",
    "normalisation",
    "activation",
    "dropout",
]
GROUPS: tuple[Group, ...] = get_args(Group)
# Groups that the table shows by default.
SHOWN: frozenset[Group] = frozenset(GROUPS[:5])

_WORDS: tuple[tuple[str, Group], ...] = (
    ("drop", "dropout"),
    ("stochasticdepth", "dropout"),
    ("norm", "normalisation"),
)
_NORMALISATIONS: Mapping[str, str] = {
    "BatchNorm": "batch normalisation",
    "LayerNorm": "layer normalisation",
}


def group_of(part: torch.nn.Module) -> Group:
    """Return the group of a module; ``other`` for one that is in none.

    >>> import torch
    >>> group_of(torch.nn.ReLU6()), group_of(torch.nn.Conv2d(3, 8, 3))
    ('activation', 'convolution')
    """
    from torch import nn

    name, home = type(part).__name__.lower(), type(part).__module__
    if isinstance(part, nn.modules.conv._ConvNd | nn.Linear):
        return "linear" if isinstance(part, nn.Linear) else "convolution"
    if "attention" in name:
        # A block that holds an attention is not one itself.
        inside = [type(one).__name__.lower() for one in part.modules() if one is not part]
        return "other" if any("attention" in one for one in inside) else "attention"
    named = next((group for word, group in _WORDS if word in name), None)
    if named is not None:
        return named
    if "pool" in name and not any(True for _ in part.children()):
        return "pooling"
    if home.rpartition(".")[2] in {"activation", "activations", "activations_me"}:
        return "activation"
    return "other"


def function_of(part: torch.nn.Module) -> str:
    """Return what a module does, in a few words.

    >>> import torch
    >>> function_of(torch.nn.Conv2d(64, 64, 3, stride=2, padding=1, groups=64))
    'depthwise convolution 3 x 3, stride 2, padding 1'
    """
    group = group_of(part)
    name = type(part).__name__
    if group == "convolution":
        return _convolution(part)
    if group == "pooling":
        return _pooling(part)
    if group == "linear":
        return "linear" if getattr(part, "bias", None) is not None else "linear, no bias"
    if group == "attention":
        heads = getattr(part, "num_heads", None)
        return f"attention, {heads} heads" if heads else "attention"
    if group == "dropout":
        share = getattr(part, "p", getattr(part, "drop_prob", 0.0))
        kind = "dropout of the branch" if name in {"StochasticDepth", "DropPath"} else "dropout"
        return f"{kind}, {100 * share:.2g} %"
    return next((text for word, text in _NORMALISATIONS.items() if name.startswith(word)), name)


def widths_of(part: torch.nn.Module) -> tuple[int, int] | None:
    """Return the input and output channels or features that a module was built for."""
    for names in (("in_channels", "out_channels"), ("in_features", "out_features")):
        values = [getattr(part, name, None) for name in names]
        if all(isinstance(value, int) for value in values):
            return values[0], values[1]  # type: ignore[return-value]
    width = getattr(part, "num_features", getattr(part, "normalized_shape", None))
    if isinstance(width, list | tuple):
        width = width[-1]
    return (width, width) if isinstance(width, int) else None


def is_idle(
    part: torch.nn.Module, before: tuple[int, ...] | None, after: tuple[int, ...] | None
) -> bool:
    """Return whether an adaptive pooling has nothing to do at this input size."""
    return "Adaptive" in type(part).__name__ and before == after


def sides(values: Any) -> str:
    """Return sizes as a person writes them.

    >>> sides(3), sides((7, 1)), sides((512, 7, 7))
    ('3 x 3', '7 x 1', '512 x 7 x 7')
    """
    if isinstance(values, int):
        values = (values, values)
    return " x ".join(str(value) for value in values)


def _convolution(part: Any) -> str:
    groups = part.groups
    depthwise = groups == part.in_channels > 1
    words = ["depthwise convolution" if depthwise else "convolution"]
    words[0] = f"{'transposed ' if part.transposed else ''}{words[0]} {sides(part.kernel_size)}"
    words += [_option("stride", part.stride, 1), _option("padding", part.padding, 0)]
    words += [_option("dilation", part.dilation, 1)]
    words += [f"{groups} groups"] if groups > 1 and not depthwise else []
    return ", ".join(filter(None, words))


def _pooling(part: Any) -> str:
    name = type(part).__name__
    kind = "max" if "Max" in name else "average"
    goal = getattr(part, "output_size", None)
    if "Adaptive" in name or not hasattr(part, "kernel_size"):
        return f"adaptive {kind} pooling to {sides(goal) if goal else '1 x 1'}"
    words = [f"{kind} pooling {sides(part.kernel_size)}"]
    words += [_option("stride", part.stride, 1), _option("padding", part.padding, 0)]
    return ", ".join(filter(None, words))


def _option(name: str, value: Any, default: int) -> str:
    if isinstance(value, str):
        return f"{name} {value}"
    values = (value,) if isinstance(value, int) else tuple(value)
    if set(values) == {default}:
        return ""
    return f"{name} {values[0] if len(set(values)) == 1 else sides(values)}"
