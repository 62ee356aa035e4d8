"""embetter as a side of extraction.py, in an interpreter that has it.

``TimmEncoder`` builds its network by ``timm.create_model(pretrained=True)``, which needs a
model hub; the job's network is given to it at that call. It never leaves training mode by
itself, which would give other features: here it is put in evaluation mode, for its own
good. Loading, transforms and the loop are embetter's: one image at a time, 32 in memory.

    python benchmarks/peer_embetter.py job.json
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from networks import BATCH_SIZE, build, hand_back, load_job


def encoder(job: Any) -> Any:
    """Return a TimmEncoder around the job's network."""
    from embetter.vision import TimmEncoder

    network, spec = build(job), job.spec
    network.pretrained_cfg = {
        "input_size": (3, spec.size, spec.size),
        "interpolation": spec.interpolation,
        "mean": spec.mean,
        "std": spec.std,
        "crop_pct": 1.0,
        "crop_mode": "squash",
    }
    with mock.patch("timm.create_model", return_value=network):
        ready = TimmEncoder(job.backbone)
    ready.model.eval()
    return ready


def main() -> None:
    """Run one job."""
    job = load_job(sys.argv[1])
    from embetter.vision import ImageLoader

    loader, ready = ImageLoader(), encoder(job)
    ready.transform([Image.new("RGB", (64, 64))])
    start, found = time.perf_counter(), []
    for first in range(0, len(job.paths), BATCH_SIZE):
        images = loader.transform(job.paths[first : first + BATCH_SIZE])
        found.append(ready.transform(images))
    features = np.concatenate(found)
    seconds = time.perf_counter() - start
    hand_back(job, features, seconds, f"embetter {version('embetter')}")


if __name__ == "__main__":
    main()
