"""thingsvision as a side of extraction.py, in an interpreter that has it.

Its documented way with a network of one's own: ``get_extractor_from_model``, its
``ImageDataset`` over a folder, its ``DataLoader`` in batches of 32, ``extract_features``.
The folder holds links to the job's files, in their order.

    python benchmarks/peer_thingsvision.py job.json
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from networks import BATCH_SIZE, build, hand_back, load_job, transform


def link(paths: list[str], folder: Path) -> Path:
    """Make links to *paths* in *folder* whose names sort in their order."""
    folder.mkdir()
    for number, path in enumerate(paths):
        (folder / f"{number:08d}{Path(path).suffix}").symlink_to(path)
    return folder


def run(job: Any, root: Path) -> tuple[Any, float]:
    """Return the features and the seconds from files to features."""
    from thingsvision import get_extractor_from_model
    from thingsvision.utils.data import DataLoader, ImageDataset

    named = torch.nn.Sequential(OrderedDict(network=build(job), features=torch.nn.Identity()))
    ready = get_extractor_from_model(
        model=named, device="cpu", preprocess=transform(job.spec), backend="pt"
    )
    named(torch.zeros(BATCH_SIZE, 3, job.spec.size, job.spec.size))
    folder = link(job.paths, root / "images")
    start = time.perf_counter()
    dataset = ImageDataset(
        root=str(folder), out_path=str(root), backend="pt", transforms=ready.get_transformations()
    )
    batches = DataLoader(dataset=dataset, batch_size=BATCH_SIZE, backend="pt")
    features = ready.extract_features(batches=batches, module_name="features", flatten_acts=True)
    return features, time.perf_counter() - start


def main() -> None:
    """Run one job."""
    job = load_job(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        features, seconds = run(job, Path(folder))
    hand_back(job, features, seconds, f"thingsvision {version('thingsvision')}")


if __name__ == "__main__":
    main()
