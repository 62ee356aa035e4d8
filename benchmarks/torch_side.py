"""The plain torch loop as a side of extraction.py: eager, channels_last or compiled.

``compile`` is torch.compile of the network in channels_last with full batches (no second
compilation for the last one); it needs a C++ compiler. Compiling happens in the warm-up.

    python benchmarks/torch_side.py job.json eager
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from arguments import Parser
from networks import build, full, hand_back, load_job, timed

VARIANTS = ("eager", "channels_last", "compile")


def variant(network: torch.nn.Module, name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the network as *name* runs it."""
    if name == "eager":
        return network
    network = network.to(memory_format=torch.channels_last)
    forward = torch.compile(network) if name == "compile" else network

    def run(batch: torch.Tensor) -> torch.Tensor:
        return forward(batch.contiguous(memory_format=torch.channels_last))

    return full(run) if name == "compile" else run


def main() -> None:
    """Run one job in one variant."""
    parser = Parser(__doc__)
    parser.add_argument("job", help=" ")
    parser.add_argument("variant", choices=VARIANTS, help=" ")
    asked = parser.parse_args()
    job = load_job(asked.job)
    hand_back(job, *timed(variant(build(job), asked.variant), job), f"torch {torch.__version__}")


if __name__ == "__main__":
    main()
