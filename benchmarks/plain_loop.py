"""The plain way, complete: a DataLoader loop in eager torch, features in memory, LinearSVC.

What a careful person writes without offshelf (the loop is in networks.py): torchvision
transforms, batches of 32 with two loading workers, channels first, fp32, inference mode,
torch's own number of threads. Offshelf is asked only where the weights are and what
preprocessing belongs to them, so that both sides use the same. One warm-up batch runs
before the clock starts.

    python benchmarks/plain_loop.py table.csv --backbone efficientnet_lite0
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from arguments import Parser, existing
from networks import BATCH_SIZE, Images, extract, lite, vgg16
from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.construct.torch_context import import_torchvision
from offshelf.backbones.weights_file.locate import locate


def accuracy(features: Any, labels: Any, train: Any) -> float:
    """Train the linear SVM on the rows in *train*; return its accuracy on the others."""
    rows = normalize(features)
    head = LinearSVC(C=1.0, random_state=0).fit(rows[train], labels[train])
    return float(head.score(rows[~train], labels[~train]))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(__doc__)
    parser.add_argument("table", type=existing, help="CSV file with path,label,split")
    parser.add_argument(
        "--backbone", choices=["efficientnet_lite0", "vgg16"], required=True, help=" "
    )
    parser.add_argument("--layer", default="pool5", help="for vgg16: pool1 ... pool5")
    parser.add_argument("--pooling", choices=["flatten", "avg", "max"], default="flatten", help=" ")
    parser.add_argument("--weights", help="weights file; else where offshelf finds it")
    return parser.parse_args()


def main() -> None:
    """Print one JSON document: images per second, accuracy, seconds by stage."""
    asked = arguments()
    import_torchvision()
    with asked.table.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    file = locate(get_spec(asked.backbone), weights=asked.weights, download=False)
    taps = (asked.layer, asked.pooling)
    network = vgg16(file.path, *taps) if asked.backbone == "vgg16" else lite(file.path)
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
