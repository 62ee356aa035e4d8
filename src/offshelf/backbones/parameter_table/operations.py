"""What one pass of a network computes, seen at its operations.

Every operation that runs is noted, whoever called it: multiply-accumulates of
convolutions and matrix products (the attention products among them) and the receptive
field of every tensor. Biases, normalisation, activations and pooling count as none,
as in published figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from offshelf.backbones.parameter_table import receptive_fields
from offshelf.backbones.parameter_table.receptive_fields import Field

if TYPE_CHECKING:
    import torch


class PassRecord:
    """Follows the operations of one pass.

    Args:
        image: the network's input.
        computed: is told the multiply-accumulates of each operation as it runs.
    """

    def __init__(self, image: torch.Tensor, computed: Callable[[int], None]) -> None:
        self._computed = computed
        self._fields: dict[int, Field | None] = {}
        # A tensor's id is its own only as long as the tensor lives.
        self._kept: list[Any] = []
        self._note(image, Field() if image.dim() == 4 else None)

    def saw(self, name: str, arguments: Sequence[Any], output: Any) -> None:
        """Take note of one operation.

        Args:
            name: its ATen name, for example ``convolution``.
            arguments: positional.
            output: a tensor, or a tuple whose first element is the result.
        """
        macs = multiply_accumulates(name, arguments, output)
        if macs:
            self._computed(macs)
        inputs = [self._fields[id(one)] for one in _tensors(arguments) if id(one) in self._fields]
        if inputs:
            field = receptive_fields.after(name, inputs, arguments)
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
