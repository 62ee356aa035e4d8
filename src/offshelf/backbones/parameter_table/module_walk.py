"""One pass of a network, layer by layer: hooks that fill a draft for every run of a layer.

A layer is a module without parts, one that owns parameters, or an attention, which is
taken whole. An adaptive pooling with nothing to do at this input size is none. Hooks are
gone when the block ends.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from offshelf.backbones.parameter_table import module_groups
from offshelf.backbones.parameter_table.module_groups import Group
from offshelf.backbones.parameter_table.operations import PassRecord, recorded

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]


@dataclass
class Draft:
    """What is known so far of one run of one layer; see :class:`~.parameters.LayerRow`."""

    name: str
    path: str
    group: Group
    function: str
    inputs: int | None = None
    outputs: int | None = None
    shape: Shape | None = None
    parameters: int = 0
    macs: int = 0
    receptive_field: tuple[int, int] | None = None
    shared_with: str = ""
    idle: bool = False


def drafts_of(module: torch.nn.Module, size: int, names: Mapping[str, str]) -> list[Draft]:
    """Run *module* once on one image and return its layers in the order of their start."""
    import torch

    device = next((tensor.device for tensor in module.parameters()), "meta")
    image = torch.empty(1, 3, size, size, device=device)
    walk = _Walk(module, image, names)
    with torch.no_grad(), walk, recorded(walk.record):
        module(image)
    return walk.finished()


class _Walk:
    def __init__(
        self, module: torch.nn.Module, image: torch.Tensor, names: Mapping[str, str]
    ) -> None:
        self.record = PassRecord(image, self._computed)
        self._module = module
        self._names = names
        self._drafts: list[Draft] = []
        # The modules that are running, outermost first: path, class, draft.
        self._running: list[tuple[str, str, Draft | None]] = []
        self._attention: Draft | None = None
        self._ran: dict[str, Draft | None] = {}
        # The path that counted a parameter first, by the parameter's id.
        self._counted: dict[int, str] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> _Walk:
        for path, part in self._module.named_modules():
            before = functools.partial(self._started, path)
            self._handles.append(part.register_forward_pre_hook(before))
            self._handles.append(part.register_forward_hook(self._ended))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def finished(self) -> list[Draft]:
        """Return the drafts, together with parameters of modules that never ran themselves."""
        for path, part in self._module.named_modules():
            left = [p for p in part.parameters(recurse=False) if id(p) not in self._counted]
            if left:
                self._count(self._user_of(path), left)
        return [
            draft
            for draft in self._drafts
            if not draft.idle
            and (draft.group != "other" or draft.parameters or draft.macs or draft.shared_with)
        ]

    def _started(self, path: str, part: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        draft = None if self._attention else self._begin(path, part, inputs)
        if draft is not None and draft.group == "attention":
            self._attention = draft
        self._ran.setdefault(path, draft)
        self._running.append((path, type(part).__name__, draft))

    def _begin(self, path: str, part: torch.nn.Module, inputs: tuple[Any, ...]) -> Draft | None:
        group = module_groups.group_of(part)
        whole = group == "attention"
        own = dict(part.named_parameters(recurse=whole))
        if any(True for _ in part.children()) and not whole:
            if group == "other":
                for name, parameter in own.items():
                    self._free(f"{path}.{name}".strip("."), parameter)
                return None
            if not own:
                return None
        draft = self._add(path, group, module_groups.function_of(part))
        self._count(draft, own.values())
        widths = module_groups.widths_of(part)
        draft.inputs, draft.outputs = widths or (self._width(draft, _shape(inputs)), None)
        return draft

    def _ended(self, part: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        _, _, draft = self._running.pop()
        if draft is None:
            return
        if draft is self._attention:
            self._attention = None
        result = output[0] if isinstance(output, tuple) else output
        field = self.record.field(result)
        draft.receptive_field = field.size if field else None
        draft.shape = _shape((result,))
        if draft.outputs is None:
            draft.outputs = self._width(draft, draft.shape)
        draft.idle = module_groups.is_idle(part, _shape(inputs), draft.shape)

    def _computed(self, macs: int) -> None:
        if self._attention is not None:
            self._attention.macs += macs
            return
        path, kind, draft = self._running[-1]
        if draft is None:
            draft = self._add(path, "other", f"matrix products of {kind}")
            self._running[-1] = (path, kind, draft)
        draft.macs += macs

    def _add(self, path: str, group: Group, function: str) -> Draft:
        draft = Draft(self._names.get(path, path), path, group, function)
        self._drafts.append(draft)
        return draft

    def _free(self, path: str, parameter: torch.Tensor) -> None:
        if id(parameter) not in self._counted:
            draft = self._add(
                path, "other", f"parameter {module_groups.sides(tuple(parameter.shape))}"
            )
            self._count(draft, [parameter])

    def _count(self, draft: Draft, parameters: Iterable[torch.Tensor]) -> None:
        for parameter in parameters:
            if id(parameter) in self._counted:
                draft.shared_with = self._counted[id(parameter)]
            else:
                self._counted[id(parameter)] = draft.path
                draft.parameters += parameter.numel()

    def _user_of(self, path: str) -> Draft:
        """Return the draft of the nearest module around *path* that ran, the network excepted."""
        for outer in _outwards(path):
            if outer and outer in self._ran:
                draft = self._ran[outer] or self._add(outer, "other", "parameters used directly")
                break
        else:
            outer, draft = path, self._add(path, "other", "not run by itself")
        self._ran[outer] = draft
        return draft

    def _width(self, draft: Draft, shape: Shape | None) -> int | None:
        """Return the channels of a shape, None where it does not say which axis they are."""
        if not shape:
            return None
        if len(shape) < 3:
            return shape[-1]
        if draft.group == "pooling":
            return shape[0]
        before = [one.outputs for one in self._drafts if one is not draft and one.outputs]
        return next((side for side in (shape[0], shape[-1]) if side in before[-1:]), None)


def _shape(values: tuple[Any, ...]) -> Shape | None:
    shape = getattr(values[0], "shape", None) if values else None
    return tuple(shape[1:]) if shape is not None else None


def _outwards(path: str) -> Iterator[str]:
    yield path
    while "." in path:
        path = path.rpartition(".")[0]
        yield path
