"""img2vec-pytorch as a side of extraction.py, in an interpreter that has it.

``Img2Vec`` knows only networks whose weights it downloads, so the subclass gives it the
job's network at the place where it builds one; its own code does everything else: its
v2 transforms (with the mean, deviation and filter that belong to the weights), its hook,
its lists of Pillow images. Lists of 32 are what its documentation calls a batch.

    python benchmarks/peer_img2vec.py job.json
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
from PIL import Image

from networks import BATCH_SIZE, build, hand_back, load_job


def extractor(job: Any) -> Any:
    """Return an Img2Vec around the job's network."""
    import torch
    from img2vec_pytorch import Img2Vec
    from torchvision.transforms import InterpolationMode, v2

    network, spec, last = build(job), job.spec, torch.nn.Identity()

    class Given(Img2Vec):
        def _get_model_and_layer(self, *_: Any) -> tuple[Any, Any]:
            return torch.nn.Sequential(network, last), last

    dimension = network(torch.zeros(1, 3, spec.size, spec.size)).shape[1]
    # The name of a VGG makes it take vectors as they come.
    given = Given(model="vgg16", layer_output_size=dimension)
    mode = InterpolationMode(spec.interpolation)
    resize, scale = v2.Resize((spec.size, spec.size), mode), v2.ToDtype(torch.float, scale=True)
    given.transforms = v2.Compose([v2.ToImage(), scale, resize, v2.Normalize(spec.mean, spec.std)])
    return given


def main() -> None:
    """Run one job."""
    job = load_job(sys.argv[1])
    ready = extractor(job)
    ready.get_vec([Image.new("RGB", (64, 64))] * BATCH_SIZE)
    start, found = time.perf_counter(), []
    for first in range(0, len(job.paths), BATCH_SIZE):
        paths = job.paths[first : first + BATCH_SIZE]
        found.append(ready.get_vec([Image.open(path).convert("RGB") for path in paths]))
    features = np.concatenate(found)
    seconds = time.perf_counter() - start
    hand_back(job, features, seconds, f"img2vec-pytorch {version('img2vec-pytorch')}")


if __name__ == "__main__":
    main()
