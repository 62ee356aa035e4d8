"""The layers of a backbone: their names, order, shapes, and whether weights cover them.

A layer is a module's output. A layer name (``relu7``) is looked up in the catalogue;
anything else is a module path (``classifier.4``), and ``PATH:in`` is that module's input,
which is how ``penultimate`` is found in networks that nobody has catalogued.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from offshelf.backbones.construct.architectures import skeleton
from offshelf.backbones.construct.torch_context import without_compiler
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.errors import BackboneError, LayerError, did_you_mean

if TYPE_CHECKING:
    import torch

INPUT_SUFFIX = ":in"
DERIVED = ("penultimate", "logits")


@dataclass(frozen=True)
class Layer:
    """One place where features can be taken.

    Attributes:
        name: the layer name, or the module path where there is none.
        path: the module path, with ``:in`` for a module's input.
        kind: the module's class name.
        shape: of one image's activation, without the batch axis.
        calls: how often the module runs in one pass; its last output counts.
        needs: top-level parts of the network whose parameters the layer depends on.
    """

    name: str
    path: str
    kind: str
    shape: tuple[int, ...]
    calls: int
    needs: frozenset[str]


@functools.lru_cache(maxsize=64)
def all_layers(spec: BackboneSpec, size: int) -> tuple[Layer, ...]:
    """Return every layer of *spec* in the order in which they finish.

    The network is run on tensors without memory, so this costs no weights and little
    time, whatever the network's size.

    Args:
        spec: the backbone.
        size: side of the square input in pixels.
    """
    module = skeleton(spec, image_size=size)
    recorder = _Recorder(module)
    with recorder:
        _run_on_nothing(module, size)
    names = {path: name for name, path in reversed(_aliases(spec, module))}
    return tuple(
        Layer(names.get(path, path), path, kind, shape, calls, needs)
        for path, (kind, shape, calls, needs) in recorder.finished.items()
    )


def check_input_size(spec: BackboneSpec, own: int, size: int) -> None:
    """Refuse a size that the network of *spec*, built for the size *own*, does not take.

    Raises:
        BackboneError: it takes its own size only, or none so small.
    """
    if size == own:
        return
    try:
        _run_on_nothing(skeleton(spec, image_size=own), size)
    # What a network of a library raises for a size that it does not take is not stated anywhere.
    except Exception as error:
        raise BackboneError(
            f"{spec.name}: does not take {size} x {size} pixels; leave out the input size, or "
            "take a convolutional network"
        ) from error


def _run_on_nothing(module: torch.nn.Module, size: int) -> None:
    import torch

    with torch.inference_mode(), without_compiler():
        module(torch.empty(1, 3, size, size, device="meta"))


def named_layers(spec: BackboneSpec, size: int) -> tuple[Layer, ...]:
    """Return the layers that have a name, one row for each name, by depth."""
    by_path = {layer.path: layer for layer in all_layers(spec, size)}
    return tuple(
        Layer(name, path, row.kind, row.shape, row.calls, row.needs)
        for name, path in _aliases(spec, None) or _derived(spec, size)
        if (row := by_path.get(path)) is not None
    )


def known_path(spec: BackboneSpec, layer: str) -> str | None:
    """Return the module path of a catalogued name, None for any other word.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> known_path(get_spec("vgg16"), "relu7")
    'classifier.4'
    """
    return dict(spec.layers).get(layer)


def resolve(spec: BackboneSpec, layer: str, size: int) -> Layer:
    """Return the layer that a layer name or module path stands for.

    Raises:
        LayerError: there is no such layer.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> resolve(get_spec("vgg16"), "pool5", 224).shape
    (512, 7, 7)
    """
    layers = all_layers(spec, size)
    aliases = dict(_aliases(spec, None) or _derived(spec, size))
    path = aliases.get(layer, layer)
    for row in layers:
        if row.path == path:
            return row
    options = [*aliases, *(row.path for row in layers)]
    raise LayerError(
        f"{spec.name}: no layer {layer!r}.{did_you_mean(layer, options)}"
        f" 'offshelf layers {spec.name}' lists them"
    )


def _aliases(spec: BackboneSpec, module: torch.nn.Module | None) -> tuple[tuple[str, str], ...]:
    if spec.layers or module is None:
        return spec.layers
    classifier = _classifier_path(module)
    if classifier is None:
        return ()
    return (("penultimate", classifier + INPUT_SUFFIX), ("logits", classifier))


def _derived(spec: BackboneSpec, size: int) -> tuple[tuple[str, str], ...]:
    return tuple((row.name, row.path) for row in all_layers(spec, size) if row.name in DERIVED)


def _classifier_path(module: torch.nn.Module) -> str | None:
    import torch

    configured: Any = getattr(module, "pretrained_cfg", {}).get("classifier")
    if isinstance(configured, str) and configured in dict(module.named_modules()):
        return configured
    linear = [n for n, part in module.named_modules() if isinstance(part, torch.nn.Linear)]
    return linear[-1] if linear else None


class _Recorder:
    """Hooks on every module that note shapes and order; gone when the block ends."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.finished: dict[str, tuple[str, tuple[int, ...], int, frozenset[str]]] = {}
        self._handles: list[Any] = []
        self._used: set[str] = set()

    def __enter__(self) -> _Recorder:
        for path, part in self.module.named_modules():
            if path:
                before = functools.partial(self._started, path)
                after = functools.partial(self._ended, path)
                self._handles.append(part.register_forward_pre_hook(before))
                self._handles.append(part.register_forward_hook(after))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _started(self, path: str, part: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        self._note(path + INPUT_SUFFIX, part, inputs[0] if inputs else None)
        if any(True for _ in part.parameters(recurse=False)):
            self._used.add(path.partition(".")[0])

    def _ended(self, path: str, part: torch.nn.Module, _: object, output: object) -> None:
        self._note(path, part, output)

    def _note(self, path: str, part: torch.nn.Module, value: object) -> None:
        shape = getattr(value, "shape", None)
        if shape is None:
            return
        calls = self.finished.pop(path, (None, None, 0, None))[2] + 1
        kind = type(part).__name__
        self.finished[path] = (kind, tuple(shape[1:]), calls, frozenset(self._used))
