"""The sides of extraction.py: what each runs, in which interpreter, and what came of it."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure import Failed, Run, offshelf, run

HERE = Path(__file__).parent
TORCH = ("eager", "channels_last", "compile")
# Sides that need a package of their own: script, and the module that must be there.
OTHERS = {
    "onnxruntime": ("onnxruntime_side.py", ("onnxruntime", "onnx")),
    "thingsvision": ("peer_thingsvision.py", ("thingsvision",)),
    "img2vec": ("peer_img2vec.py", ("img2vec_pytorch",)),
    "embetter": ("peer_embetter.py", ("embetter",)),
}
OFFSHELF = ("offshelf fp32", "offshelf bf16", "offshelf int8")
NAMES = (*TORCH, *OTHERS, *OFFSHELF)
COMPARED = 64


@dataclass(frozen=True)
class Outcome:
    """What one side did once.

    Attributes:
        rate: images/s from files to features, start-up apart.
        seconds: from files to features.
        run: the whole process.
        features: of the first images, N x D, to compare.
        note: version of what ran.
    """

    rate: float
    seconds: float
    run: Run
    features: NDArray[np.float32]
    note: str

    @property
    def start(self) -> float:
        """Seconds of everything else: imports, weights, conversion, calibration, writing."""
        return self.run.seconds - self.seconds


@dataclass(frozen=True)
class Task:
    """What all sides do: a table of images, a network, and the same as a job for scripts."""

    table: Path
    job: dict[str, Any]


def interpreter(name: str, given: dict[str, str]) -> str:
    """Return the Python that runs the side *name*.

    Raises:
        Failed: what it needs is not installed; the text says what to do.
    """
    if name not in OTHERS:
        return sys.executable
    python = given.get(name, sys.executable)
    missing = _missing(python, OTHERS[name][1])
    if missing:
        advice = f"see benchmarks/peers.sh, or give --peer-python {name}=PYTHON"
        raise Failed(f"{', '.join(missing)} not here: {advice}")
    return python


def _missing(python: str, modules: tuple[str, ...]) -> list[str]:
    """Return which of *modules* the interpreter lacks, or the interpreter if it does not run."""
    code = "import sys; from importlib.util import find_spec as find; "
    code += "print(*[module for module in sys.argv[1:] if not find(module)])"
    try:
        return run([python, "-c", code, *modules]).output.split()
    except (Failed, OSError):
        return [python]


def run_side(name: str, task: Task, python: str) -> Outcome:
    """Run one side once, in a process of its own.

    Raises:
        Failed: it did not end well.
    """
    with tempfile.TemporaryDirectory() as folder:
        if name in OFFSHELF:
            return _offshelf(name.split()[1], task, Path(folder))
        job = Path(folder, "job.json")
        features = Path(folder, "features.npy")
        job.write_text(json.dumps({**task.job, "features": str(features)}))
        script = (
            [HERE / "torch_side.py", job, name] if name in TORCH else [HERE / OTHERS[name][0], job]
        )
        done = run([python, *map(str, script)])
        document = json.loads(done.output.splitlines()[-1])
        rate, seconds = document["images_per_second"], document["seconds"]
        return Outcome(rate, seconds, done, np.load(features), document["note"])


def _offshelf(precision: str, task: Task, folder: Path) -> Outcome:
    job, out = task.job, folder / "features.parquet"
    options = ["--backbone", job["backbone"], "--layer", job["layer"], "--pooling", job["pooling"]]
    options += ["--weights", job["weights"], "--precision", precision, "--resize", "squash"]
    options += ["--cache-dir", folder / "cache", "--out", out, "--json", "--quiet"]
    done = run(offshelf("extract", task.table, *options))
    document = json.loads(done.output)
    seconds = document["seconds"]["extract"]
    features = _first(out, document["layers"][0]["column"], job["paths"][:COMPARED])
    return Outcome(document["images_per_second"], seconds, done, features, document["engine"])


def _first(parquet: Path, column: str, paths: list[str]) -> NDArray[np.float32]:
    import pyarrow.dataset as ds

    found = ds.dataset(parquet).to_table(["path", column], filter=ds.field("path").isin(paths))
    by_path = dict(zip(found["path"].to_pylist(), found[column].to_pylist(), strict=True))
    return np.array([by_path[path] for path in paths], np.float32)
