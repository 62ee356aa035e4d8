"""The plain way, complete: a DataLoader loop in eager torch, features in memory, LinearSVC.

What a careful person writes without offshelf: torchvision transforms, batches of 32 with two
loading workers, channels first, fp32, inference mode, torch's own number of threads. Offshelf
is asked only where the weights are and what preprocessing belongs to them, so that both
sides use the same. One warm-up batch runs before the clock starts.

    python benchmarks/plain_loop.py table.csv --backbone efficientnet_lite0
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from offshelf.backbones.catalog import get_spec
from offshelf.backbones.spec import InputSpec
from offshelf.backbones.torchvision_shim import import_torchvision
from offshelf.backbones.weights import WeightsFile, locate

torchvision = import_torchvision()

BATCH_SIZE, WORKERS = 32, 2
POOLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "flatten": lambda maps: maps.flatten(1),
    "avg": lambda maps: maps.mean((2, 3)),
    "max": lambda maps: maps.amax((2, 3)),
}


class Images(torch.utils.data.Dataset[torch.Tensor]):
    """Image files as normalised float tensors, 3 x size x size."""

    def __init__(self, paths: list[str], spec: InputSpec) -> None:
        from torchvision import transforms

        side = (spec.size, spec.size)
        mode = transforms.InterpolationMode(spec.interpolation)
        steps = [transforms.Resize(side, interpolation=mode), transforms.ToTensor()]
        steps.append(transforms.Normalize(spec.mean, spec.std))
        self.paths, self.transform = paths, transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def lite(file: WeightsFile) -> Callable[[torch.Tensor], torch.Tensor]:
    """Build EfficientNet-Lite0 up to its penultimate features, N x 1280."""
    import timm

    model = timm.create_model("tf_efficientnet_lite0")
    tensors = torch.load(file.path, weights_only=True)
    # The package's file has timm's tensors, in timm's order, under other names.
    model.load_state_dict(dict(zip(model.state_dict(), tensors.values(), strict=True)))
    model.eval()
    return lambda batch: model.forward_head(model.forward_features(batch), pre_logits=True)


def vgg16(file: WeightsFile, layer: str, pooling: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Build VGG16's convolutions up to *layer*, ``pool1`` ... ``pool5``, then *pooling*."""
    from safetensors.torch import load_file

    convolutions = torchvision.models.vgg16(weights=None).features
    if file.path.suffix == ".safetensors":
        tensors = load_file(file.path)
    else:
        tensors = torch.load(file.path, weights_only=True)
    tensors = {name.removeprefix("features."): tensor for name, tensor in tensors.items()}
    convolutions.load_state_dict({name: tensors[name] for name in convolutions.state_dict()})
    ends = [i for i, step in enumerate(convolutions) if isinstance(step, torch.nn.MaxPool2d)]
    network = convolutions[: ends[int(layer.removeprefix("pool")) - 1] + 1].eval()
    return lambda batch: POOLINGS[pooling](network(batch))


def extract(network: Callable[[torch.Tensor], torch.Tensor], images: Images) -> Any:
    """Return features N x D of all *images*, kept in memory and joined at the end."""
    loader = torch.utils.data.DataLoader(images, batch_size=BATCH_SIZE, num_workers=WORKERS)
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in loader]).numpy()


def accuracy(features: Any, labels: Any, train: Any) -> float:
    """Train the linear SVM on the rows in *train*; return its accuracy on the others."""
    rows = normalize(features)
    head = LinearSVC(C=1.0, random_state=0).fit(rows[train], labels[train])
    return float(head.score(rows[~train], labels[~train]))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="CSV file with path,label,split")
    parser.add_argument("--backbone", choices=["efficientnet_lite0", "vgg16"], required=True)
    parser.add_argument("--layer", default="pool5", help="for vgg16: pool1 ... pool5")
    parser.add_argument("--pooling", choices=list(POOLINGS), default="flatten")
    parser.add_argument("--weights", help="weights file; else where offshelf finds it")
    return parser.parse_args()


def main() -> None:
    """Print one JSON document: images per second, accuracy, seconds by stage."""
    asked = arguments()
    with asked.table.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    file = locate(get_spec(asked.backbone), weights=asked.weights, download=False)
    taps = (asked.layer, asked.pooling)
    network = vgg16(file, *taps) if asked.backbone == "vgg16" else lite(file)
    images = Images([row["path"] for row in rows], file.spec.input)
    with torch.inference_mode():
        network(torch.zeros(BATCH_SIZE, *images[0].shape))
    start = time.perf_counter()
    features = extract(network, images)
    extracted = time.perf_counter()
    labels = np.array([row["label"] for row in rows])
    score = accuracy(features, labels, np.array([row["split"] == "train" for row in rows]))
    seconds = {"extract": extracted - start, "fit": time.perf_counter() - extracted}
    rate = len(rows) / seconds["extract"]
    print(json.dumps({"images_per_second": rate, "accuracy": score, "seconds": seconds}))


if __name__ == "__main__":
    main()
