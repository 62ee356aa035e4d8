"""Receptive fields: which pixels of the input one position of an activation can depend on.

Followed exactly through convolution, pooling, padding, elementwise operations, sums of
branches and joins along the channels; anything else (flattening, attention, a mean over
the whole map) ends it, and the field is then None: not defined as a window of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Operations that combine values at one position only.
_POINTWISE = """
relu relu_ hardtanh hardtanh_ gelu silu silu_ sigmoid hardswish hardsigmoid leaky_relu elu
mish tanh add add_ sub mul mul_ div clone detach alias _to_copy native_batch_norm
_native_batch_norm_legit_no_training _batch_norm_no_update cudnn_batch_norm native_dropout
"""
POINTWISE = frozenset(_POINTWISE.split())


@dataclass(frozen=True)
class Axis:
    """One axis of a field: position i depends on pixels ``step * i + low`` to ``+ high``.

    Attributes:
        step: pixels between the fields of neighbouring positions.
        low: first pixel, relative to ``step * i``.
        high: last pixel, relative to ``step * i``.
    """

    step: int = 1
    low: int = 0
    high: int = 0

    @property
    def size(self) -> int:
        """Pixels from the first to the last."""
        return self.high - self.low + 1

    def window(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> Axis:
        """Return the axis after a sliding window.

        The recursion of Araujo, Norris and Sim, "Computing receptive fields of
        convolutional neural networks" (Distill, 2019), equations 2 and 5.

        >>> Axis().window(3, 1, 1).window(2, 2, 0).size
        4
        """
        reach = dilation * (kernel - 1) - padding
        return Axis(
            self.step * stride, self.low - self.step * padding, self.high + self.step * reach
        )

    def shifted(self, before: int) -> Axis:
        """Return the axis after *before* positions were added in front."""
        return Axis(self.step, self.low - self.step * before, self.high - self.step * before)


@dataclass(frozen=True)
class Field:
    """The receptive field of every position of a map, its two axes.

    Attributes:
        height: of the rows.
        width: of the columns.
    """

    height: Axis = Axis()
    width: Axis = Axis()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height.size, self.width.size

    def joined(self, other: Field) -> Field | None:
        """Return the field of a value that depends on both, None where the steps differ."""
        pairs = ((self.height, other.height), (self.width, other.width))
        if any(one.step != two.step for one, two in pairs):
            return None
        return Field(
            *(Axis(a.step, min(a.low, b.low), max(a.high, b.high)) for a, b in pairs),
        )


def after(name: str, inputs: Sequence[Field | None], arguments: Sequence[Any]) -> Field | None:
    """Return the field of an operation's result.

    Args:
        name: the operation's name in ATen, without namespace and overload.
        inputs: fields of the arguments that depend on the image, None for undefined.
        arguments: of the operation, positional, as ATen's schemas state them.
    """
    known = [field for field in inputs if field is not None]
    if not known or len(known) < len(inputs):
        return None
    if name in POINTWISE or (name == "cat" and [*arguments, 0][1] == 1):
        result: Field | None = known[0]
        for field in known[1:]:
            result = result.joined(field) if result is not None else None
        return result
    rule = _RULES.get(name)
    return rule(known[0], arguments) if rule else None


def _convolution(field: Field, arguments: Sequence[Any]) -> Field | None:
    image, weight, _, stride, padding, dilation, transposed, *_ = arguments
    if transposed or image.dim() != 4:
        return None
    return _slid(field, weight.shape[2:], stride, padding, dilation)


def _pool(field: Field, arguments: Sequence[Any]) -> Field | None:
    options: list[Any] = [*arguments[1:], [], [], []]
    kernel, stride, padding, dilation = options[:4]
    # An average pooling has its next option where a maximum has its dilation.
    dilated = dilation if isinstance(dilation, list | tuple) else []
    return _slid(field, kernel, stride or kernel, padding or [0], dilated or [1])


def _adaptive(field: Field, arguments: Sequence[Any]) -> Field | None:
    sides, wanted = arguments[0].shape[-2:], arguments[1]
    if any(side % goal for side, goal in zip(sides, wanted, strict=True)):
        return None
    kernel = [side // goal for side, goal in zip(sides, wanted, strict=True)]
    return _slid(field, kernel, kernel, [0], [1])


def _padded(field: Field, arguments: Sequence[Any]) -> Field | None:
    sides: list[int] = [*arguments[1], 0, 0]
    left, top = sides[0], sides[2]
    return Field(field.height.shifted(top), field.width.shifted(left))


def _slid(
    field: Field,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Field:
    rows = [list(values) * (2 // len(values)) for values in (kernel, stride, padding, dilation)]
    high, wide = zip(*rows, strict=True)
    return Field(field.height.window(*high), field.width.window(*wide))


_RULES: Mapping[str, Any] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pool,
    "avg_pool2d": _pool,
    "_adaptive_avg_pool2d": _adaptive,
    "constant_pad_nd": _padded,
}
