"""The networks and the plain pipeline that every side but offshelf runs.

Nothing of offshelf is imported, so that a peer's interpreter can run this file: a job (a
JSON file) says which images, which weights file and which preprocessing. A side extracts
the features of its images and hands them back with the seconds from files to features.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

BATCH_SIZE, WORKERS = 32, 2
# Features of so many images are kept, to show that the sides compute the same.
COMPARED = 64


class Pool(torch.nn.Module):
    """Maps N x C x H x W to one vector an image: ``flatten``, ``avg`` or ``max``."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the vectors."""
        if self.kind == "flatten":
            return maps.flatten(1)
        return maps.mean((2, 3)) if self.kind == "avg" else maps.amax((2, 3))


class Images(torch.utils.data.Dataset[torch.Tensor]):
    """Image files as normalised float tensors, 3 x size x size.

    *spec* has ``size``, ``interpolation``, ``mean`` and ``std``.
    """

    def __init__(self, paths: Sequence[str], spec: Any) -> None:
        self.paths, self.transform = paths, transform(spec)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(ImageOps.exif_transpose(image).convert("RGB"))


def transform(spec: Any) -> Callable[[Image.Image], torch.Tensor]:
    """Return torchvision's transforms for the preprocessing *spec*."""
    from torchvision import transforms

    mode = transforms.InterpolationMode(spec.interpolation)
    steps = [transforms.Resize((spec.size, spec.size), interpolation=mode), transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(spec.mean, spec.std)])


def lite(weights: Path) -> torch.nn.Module:
    """Build EfficientNet-Lite0 up to its penultimate features, N x 1280."""
    import timm

    model = timm.create_model("tf_efficientnet_lite0")
    tensors = torch.load(weights, weights_only=True)
    # The package's file has timm's tensors, in timm's order, under other names.
    model.load_state_dict(dict(zip(model.state_dict(), tensors.values(), strict=True)))
    model.reset_classifier(0)
    return model.eval()


def vgg16(weights: Path, layer: str, pooling: str) -> torch.nn.Module:
    """Build VGG16's convolutions up to *layer*, ``pool1`` ... ``pool5``, then *pooling*."""
    from torchvision import models

    convolutions = models.vgg16(weights=None).features
    tensors = _read(weights)
    tensors = {name.removeprefix("features."): tensor for name, tensor in tensors.items()}
    convolutions.load_state_dict({name: tensors[name] for name in convolutions.state_dict()})
    ends = [i for i, step in enumerate(convolutions) if isinstance(step, torch.nn.MaxPool2d)]
    last = ends[int(layer.removeprefix("pool")) - 1]
    return torch.nn.Sequential(*convolutions[: last + 1], Pool(pooling)).eval()


def _read(weights: Path) -> dict[str, torch.Tensor]:
    if weights.suffix != ".safetensors":
        return torch.load(weights, weights_only=True)
    from safetensors.torch import load_file

    return load_file(weights)


def other(job: Any) -> torch.nn.Module:
    """Build any network of torchvision or timm without its last linear layer."""
    if job.source == "timm":
        import timm

        model = timm.create_model(job.architecture)
    else:
        from torchvision import models

        model = models.get_model(job.architecture, weights=None)
    model.load_state_dict(_read(Path(job.weights)))
    linear = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    model.set_submodule(linear[-1], torch.nn.Identity())
    return model.eval()


def build(job: Any) -> torch.nn.Module:
    """Build the network of *job*, in evaluation mode, with its weights."""
    if job.backbone == "vgg16":
        return vgg16(Path(job.weights), job.layer, job.pooling)
    return lite(Path(job.weights)) if job.backbone == "efficientnet_lite0" else other(job)


def loader(images: Images) -> torch.utils.data.DataLoader[torch.Tensor]:
    """Return the loader of the plain loop: batches of 32, two worker processes."""
    return torch.utils.data.DataLoader(images, batch_size=BATCH_SIZE, num_workers=WORKERS)


def extract(network: Callable[[torch.Tensor], torch.Tensor], images: Images) -> Any:
    """Return features N x D of all *images*, kept in memory and joined at the end."""
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in loader(images)]).numpy()


def full(network: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return *network* for batches that are always full: what is missing is zeros, then cut."""

    def run(batch: torch.Tensor) -> torch.Tensor:
        missing = BATCH_SIZE - len(batch)
        if missing:
            batch = torch.cat([batch, batch.new_zeros(missing, *batch.shape[1:])])
        return torch.as_tensor(network(batch))[: BATCH_SIZE - missing]

    return run


def timed(network: Callable[[torch.Tensor], torch.Tensor], job: Any) -> tuple[Any, float]:
    """Return the features of the job's images and the seconds after one batch of warm-up."""
    images = Images(job.paths, job.spec)
    with torch.inference_mode():
        network(torch.zeros(BATCH_SIZE, *images[0].shape))
    start = time.perf_counter()
    features = extract(network, images)
    return features, time.perf_counter() - start


def load_job(path: str) -> Any:
    """Return a job: ``paths``, ``backbone``, ``layer``, ``pooling``, ``weights``, ``spec``, ...

    torchvision is made to load first, also where its compiled part does not fit torch.
    """
    job = json.loads(Path(path).read_text(), object_hook=lambda fields: SimpleNamespace(**fields))
    found = importlib.util.spec_from_file_location("torch_context", job.shim)
    shim = importlib.util.module_from_spec(found)
    # It declares operators, and they live only as long as the module does.
    sys.modules[found.name] = shim
    found.loader.exec_module(shim)
    shim.import_torchvision()
    return job


def hand_back(job: Any, features: Any, seconds: float, note: str = "") -> None:
    """Keep some features for comparison and print the side's document."""
    rows = np.asarray(features, np.float32).reshape(len(features), -1)
    if len(rows) != len(job.paths):
        raise SystemExit(f"{len(job.paths)} images but features of {len(rows)}")
    np.save(job.features, rows[:COMPARED])
    rate = len(rows) / seconds
    print(json.dumps({"images_per_second": rate, "seconds": seconds, "note": note}))
