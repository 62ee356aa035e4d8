"""Operations of one pass: multiply-accumulates, and receptive fields.

Every operation that runs is noted, whoever called it: multiply-accumulates of convolutions and
matrix products (the attention products among them). Biases, normalisation, activations and
pooling count as none, as in published figures.

A receptive field is the window of pixels that one position of an activation can depend on. It is
followed exactly through convolution, pooling, padding, elementwise operations, sums of branches
and joins along the channels; anything else (flattening, attention, a mean over the whole map)
ends it, and the field is then None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Operations that combine values at one position only.
_POINTWISE = """
relu relu_ hardtanh hardtanh_ gelu silu silu_ sigmoid hardswish hardsigmoid leaky_relu elu
mish tanh add add_ sub mul mul_ div clone detach alias _to_copy native_batch_norm
_native_batch_norm_legit_no_training _batch_norm_no_update cudnn_batch_norm native_dropout
"""
POINTWISE = frozenset(_POINTWISE.split())


@dataclass(frozen=True)
class FieldAxis:
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

    def window(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> FieldAxis:
        """Return the axis after a sliding window.

        The recursion of Araujo, Norris and Sim, "Computing receptive fields of
        convolutional neural networks" (Distill, 2019), equations 2 and 5.

        >>> FieldAxis().window(3, 1, 1).window(2, 2, 0).size
        4
        """
        reach = dilation * (kernel - 1) - padding
        return FieldAxis(
            self.step * stride, self.low - self.step * padding, self.high + self.step * reach
        )

    def shifted(self, before: int) -> FieldAxis:
        """Return the axis after *before* positions were added in front."""
        return FieldAxis(self.step, self.low - self.step * before, self.high - self.step * before)


@dataclass(frozen=True)
class Field:
    """The receptive field of every position of a map, its two axes."""

    height: FieldAxis = FieldAxis()
    width: FieldAxis = FieldAxis()

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
            *(FieldAxis(a.step, min(a.low, b.low), max(a.high, b.high)) for a, b in pairs),
        )


def after(name: str, inputs: Sequence[Field | None], arguments: Sequence[Any]) -> Field | None:
    """Return the field of an operation's result, by its ATen name and positional arguments."""
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


class PassRecord:
    """Follows the operations of one pass."""

    def __init__(self, image: torch.Tensor, computed: Callable[[int], None]) -> None:
        self._computed = computed
        self._fields: dict[int, Field | None] = {}
        # An id is unique only as long as its tensor lives.
        self._kept: list[Any] = []
        self._note(image, Field() if image.dim() == 4 else None)

    def saw(self, name: str, arguments: Sequence[Any], output: Any) -> None:
        """Take note of one operation: its ATen name, positional arguments and result."""
        macs = multiply_accumulates(name, arguments, output)
        if macs:
            self._computed(macs)
        inputs = [self._fields[id(one)] for one in _tensors(arguments) if id(one) in self._fields]
        if inputs:
            field = after(name, inputs, arguments)
            for tensor in _tensors([output]):
                self._note(tensor, field)

    def field(self, tensor: object) -> Field | None:
        """Return the receptive field of *tensor*, None where it is not defined."""
        return self._fields.get(id(tensor))

    def _note(self, tensor: Any, field: Field | None) -> None:
        self._kept.append(tensor)
        self._fields[id(tensor)] = field


def recorded(record: PassRecord) -> Any:
    """Return a context in which every torch operation goes to *record*."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            output = operation(*args, **(kwargs or {}))
            record.saw(operation.overloadpacket.__name__, args, output)
            return output

    return _Mode()  # type: ignore[no-untyped-call]


def multiply_accumulates(name: str, arguments: Sequence[Any], output: Any) -> int:
    """Return the multiply-accumulates of one operation, 0 for one that has none.

    >>> import torch
    >>> a, b = torch.empty(2, 3), torch.empty(3, 5)
    >>> multiply_accumulates("mm", (a, b), a @ b)
    30
    """
    if name == "convolution":
        image, weight, transposed = arguments[0], arguments[1], arguments[6]
        positions = image if transposed else output
        return int(positions.numel() * math.prod(weight.shape[1:]))
    if name in {"mm", "bmm"}:
        return int(arguments[0].numel() * arguments[1].shape[-1])
    if name in {"addmm", "baddbmm"}:
        return int(arguments[1].numel() * arguments[2].shape[-1])
    if name.startswith("_scaled_dot_product"):
        query, key, value = arguments[:3]
        scores = query.numel() // query.shape[-1] * key.shape[-2]
        return int(scores * (query.shape[-1] + value.shape[-1]))
    return 0


def _tensors(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, list | tuple):
            found += _tensors(value)
        elif hasattr(value, "numel"):
            found.append(value)
    return found
