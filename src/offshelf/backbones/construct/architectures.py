"""Construction of a torch module from a spec, in evaluation mode, with verified weights.

Networks are built without memory ("meta" tensors) and the weights are put in place, so
nothing is initialised only to be overwritten, and a part that the weights file does not
cover stays visibly empty.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from offshelf.backbones.construct.torch_context import (
    import_timm,
    import_torchvision,
    one_thread,
    without_compiler,
    without_draws,
)
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.backbones.weights_file.locate import WeightsFile, read_tensors
from offshelf.errors import BackboneError, WeightsError

if TYPE_CHECKING:
    import torch

SHOWN_NAMES = 5


def skeleton(spec: BackboneSpec, *, image_size: int | None = None) -> torch.nn.Module:
    """Return the architecture of *spec* on the meta device: shapes without numbers.

    Args:
        spec: the backbone.
        image_size: side of the input in pixels, for networks whose shapes depend on it.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> module = skeleton(get_spec("alexnet"))
    >>> sum(p.numel() for p in module.parameters())
    61100840
    """
    import torch

    try:
        with torch.device("meta"), without_compiler(), without_draws():
            return _quiet(_construct(spec, image_size))
    except NotImplementedError:
        # RegNet's builder computes its widths with tensors, which have no numbers on meta.
        return _quiet(_construct(spec, image_size).to("meta"))


@one_thread()
def load_module(spec: BackboneSpec, file: WeightsFile) -> torch.nn.Module:
    """Return the backbone's network with the tensors of *file*, in evaluation mode.

    Raises:
        WeightsError: tensors are missing, unexpected, of another shape or kind, or not
            finite.
    """
    import torch

    size = file.spec.input.size
    if not file.trained:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _quiet(_construct(spec, size))
    module = skeleton(spec, image_size=size)
    tensors = _named(module, file, read_tensors(file))
    _check(module, file, tensors)
    if _has_computed_buffers(module):
        module = _quiet(_construct(spec, size))
    module.load_state_dict(dict(tensors), strict=False, assign=True)
    return _quiet(module)


def _construct(spec: BackboneSpec, image_size: int | None) -> torch.nn.Module:
    vision = import_torchvision()
    if spec.source == "torchvision":
        options: dict[str, Any] = {}
        builder = vision.models.get_model_builder(spec.architecture)
        if "init_weights" in inspect.signature(builder).parameters:
            options["init_weights"] = False
        with warnings.catch_warnings():
            # Two networks warn that their initialisation will change.
            warnings.filterwarnings("ignore", message="The default weight initialization")
            return builder(weights=None, **options)  # type: ignore[no-any-return]
    return _construct_timm(spec, image_size)


def _construct_timm(spec: BackboneSpec, image_size: int | None) -> torch.nn.Module:
    timm = import_timm()
    try:
        if image_size is not None:
            try:
                return timm.create_model(spec.architecture, img_size=image_size)  # type: ignore[no-any-return]
            except TypeError:
                # Convolutional networks take any size and have no such argument.
                pass
        return timm.create_model(spec.architecture)  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise BackboneError(f"{spec.name}: timm cannot build it: {error}") from error


def _quiet(module: torch.nn.Module) -> torch.nn.Module:
    """Freeze *module*, in evaluation mode and without in-place activations.

    An in-place ReLU would overwrite the convolution's output that a tap has taken.
    """
    module.eval().requires_grad_(False)
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]
    return module


def _named(
    module: torch.nn.Module, file: WeightsFile, tensors: Mapping[str, torch.Tensor]
) -> Mapping[str, torch.Tensor]:
    if not file.spec.by_order:
        if file.spec.covers:
            return {k: v for k, v in tensors.items() if k.split(".")[0] in file.spec.covers}
        return tensors
    names = list(module.state_dict())
    if len(names) != len(tensors):
        raise WeightsError(
            f"{file.path}: {len(tensors)} tensors where the network has {len(names)}"
        )
    return dict(zip(names, tensors.values(), strict=True))


def _check(module: torch.nn.Module, file: WeightsFile, tensors: Mapping[str, torch.Tensor]) -> None:
    covers = file.spec.covers
    expected = {
        name: tensor
        for name, tensor in module.state_dict().items()
        if not covers or name.split(".")[0] in covers
    }
    optional = {name for name in expected if name.endswith("num_batches_tracked")}
    problems = {
        "missing": expected.keys() - tensors.keys() - optional,
        "unexpected": tensors.keys() - expected.keys(),
        "of another shape": {
            name
            for name in expected.keys() & tensors.keys()
            if expected[name].shape != tensors[name].shape
        },
        "of whole numbers": {
            name
            for name in expected.keys() & tensors.keys()
            if expected[name].is_floating_point() and not tensors[name].is_floating_point()
        },
        "not finite": {
            name
            for name, tensor in tensors.items()
            if tensor.is_floating_point() and not bool(tensor.isfinite().all())
        },
    }
    found = [f"{what}: {_some(names)}" for what, names in problems.items() if names]
    if found:
        raise WeightsError(f"{file.path}: does not fit its backbone; tensors {'; '.join(found)}")


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN_NAMES])
    more = len(names) - SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _has_computed_buffers(module: torch.nn.Module) -> bool:
    kept = module.state_dict().keys()
    return any(name not in kept for name, _ in module.named_buffers())
