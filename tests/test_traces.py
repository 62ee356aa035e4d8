"""A call leaves the process as it found it: warnings, signals, environment, threads, settings.

What stays are imports, and what libraries do when they are imported: a filter of warnings of
their own, loggers, a level of their logger (NNCF), a folder on ``sys.path`` (setuptools, by
torch), files that matplotlib keeps open (fonts), and the declaration of two operators that
torchvision lacks beside a torch for the CPU. The second test shows that nothing else does.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offshelf
from offshelf.backbones.backbone import open_backbone
from offshelf.cli.main import NAMES, main
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.torch_engine.training_mode import TrainingMode
from offshelf.estimator import HeadChoice
from offshelf.features.network_input import network_input
from offshelf.jobs.compare.grid import HeadAxes
from offshelf.jobs.setup.settings import HeadSettings, RunSettings

process_state = pytest.importorskip("process_state", reason="needs a POSIX system")
linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")

# What libraries keep once they have it, and the folder of the tests' own files.
KEPT = {"open files", "temporary files"}


class Inputs:
    """What the calls work on."""

    def __init__(self, scenes: Path, folder: Path) -> None:
        self.scenes, self.folder = scenes, folder
        self.model = folder / "a.offshelf"
        self.paths = sorted(map(str, (scenes / "train").rglob("*.png")))
        self.labels = [Path(path).parent.name for path in self.paths]

    def classifier(self) -> Any:
        return offshelf.TransferClassifier().fit(self.paths, self.labels)


@pytest.fixture(scope="module")
def given(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    inputs = Inputs(scenes, tmp_path_factory.mktemp("traces"))
    offshelf.fit(scenes, inputs.model)
    return inputs


def fit_in_all_ways(given: Inputs) -> None:
    for engine in (
        EngineOptions(precision="int8"),
        EngineOptions(engine="torch", device="cpu", threads=1),
    ):
        offshelf.fit(given.scenes, run=RunSettings(engine=engine))
    for head in ("fc", "logistic", "ridge", "lda", "knn", "centroid"):
        offshelf.fit(given.scenes, head=HeadSettings(head=head))


def commands(given: Inputs) -> None:
    model, image = str(given.model), given.paths[0]
    out = [str(given.folder / name) for name in ("b.offshelf", "f.parquet", "c.csv", "p.png")]
    lines = {
        "fit": [[str(given.scenes), "--out", out[0]], ["no/such/folder"]],
        "predict": [[model, image, "--csv"], [model, "no.png"]],
        "evaluate": [[model, str(given.scenes)]],
        "compare": [[str(given.scenes), "--heads", "svm", "--out", out[2]]],
        "curve": [[str(given.scenes), "--repeats", "3"]],
        "extract": [[str(given.scenes), "-o", out[1]]],
        "audit": [[str(given.scenes)]],
        "backbones": [[], ["--json"]],
        "layers": [["efficientnet_lite0"]],
        "inspect": [["efficientnet_lite0"]],
        "classify": [[image]],
        "maps": [[image, "-l", "stage1", "-o", out[3]]],
        "filters": [["efficientnet_lite0", "-o", out[3]]],
        "explain": [[model, image, "-o", out[3]]],
        "show": [[model]],
        "weights": [["list"]],
        "demo": [["--help"]],
        "doctor": [[]],
    }
    assert lines.keys() == set(NAMES)
    for command, ways in lines.items():
        for words in ways:
            with contextlib.suppress(SystemExit):
                assert main([command, *words]) in (0, 1, 2)


SETTINGS = (
    "Bounds",
    "Choice",
    "CurveSettings",
    "DecisionSettings",
    "EngineOptions",
    "FeatureSettings",
    "HeadSettings",
    "Limits",
    "ProbabilitySettings",
    "ReadOptions",
    "RunSettings",
)


def classes_of_settings(_: Inputs) -> None:
    offshelf.CompareSettings()
    offshelf.NetworkAxes()
    offshelf.HeadAxes()
    offshelf.ProtocolSettings()
    offshelf.OffshelfError("nothing")
    for kind in SETTINGS:
        getattr(offshelf, kind)()


def estimators(given: Inputs) -> None:
    classifier = given.classifier()
    for method in ("predict", "decision_function"):
        getattr(classifier, method)(given.paths)
    classifier.score(given.paths, given.labels)
    choice = HeadChoice(calibrate="temperature")
    sure = offshelf.TransferClassifier(head=choice).fit(given.paths, given.labels)
    sure.predict_proba(given.paths)
    extractor = offshelf.FeatureExtractor()
    extractor.fit_transform(given.paths)
    extractor.get_feature_names_out()


def functions(given: Inputs) -> None:
    model, image, few = given.model, given.paths[0], given.paths[:2]
    offshelf.predict(model, few)
    offshelf.evaluate(model, given.scenes)
    offshelf.show(model)
    offshelf.extract(few)
    offshelf.audit(given.scenes)
    offshelf.curve(given.scenes, repeats=1)
    offshelf.explain_images(model, few)
    offshelf.maps(image, "stage1")
    offshelf.filters("efficientnet_lite0")
    offshelf.classify(few)


FUNCTIONS = {"predict", "evaluate", "show", "extract", "audit", "curve", "explain_images"}
FUNCTIONS |= {"maps", "filters", "classify"}


def training_mode(given: Inputs) -> None:
    backbone = open_backbone("efficientnet_lite0")
    network = TrainingMode(backbone, Tap(backbone.path_of("logits"), "flatten"))
    seen = network_input(given.paths[0], backbone.input).pixels
    network.run(np.stack([seen, seen]), training=True)


# What is called, and which public names that covers.
CALLS: dict[str, tuple[Callable[[Inputs], Any], set[str]]] = {
    "settings": (
        classes_of_settings,
        {
            "CompareSettings",
            "NetworkAxes",
            "HeadAxes",
            "ProtocolSettings",
            "OffshelfError",
            *SETTINGS,
        },
    ),
    "list_backbones": (lambda _: offshelf.list_backbones(), {"list_backbones"}),
    "catalogue": (lambda _: str(offshelf.catalogue()), {"catalogue"}),
    "list_layers": (lambda _: str(offshelf.list_layers("efficientnet_lite0")), {"list_layers"}),
    "inspect": (lambda _: str(offshelf.inspect("efficientnet_lite0")), {"inspect"}),
    "extract": (
        lambda given: offshelf.extract_features(given.scenes, given.folder / "e.parquet"),
        {"extract_features"},
    ),
    "fit": (fit_in_all_ways, {"fit"}),
    "load": (lambda given: offshelf.load_model(given.model), {"load_model"}),
    "predict": (
        lambda given: offshelf.predict_images(given.model, given.paths),
        {"predict_images"},
    ),
    "evaluate": (
        lambda given: offshelf.evaluate_model(given.model, given.scenes),
        {"evaluate_model"},
    ),
    "explain": (
        lambda given: offshelf.explain(given.model, given.paths[0])._repr_png_(),
        {"explain"},
    ),
    "maps": (
        lambda given: offshelf.activation_maps(given.paths[0], ["stage1"])._repr_png_(),
        {"activation_maps"},
    ),
    "filters": (lambda _: offshelf.first_filters()._repr_png_(), {"first_filters"}),
    "top_images": (
        lambda given: offshelf.top_images(given.paths, ["stage1"])._repr_png_(),
        {"top_images"},
    ),
    "classify": (
        lambda given: offshelf.classify_images(given.paths[:2], no_normalize=True),
        {"classify_images"},
    ),
    "training mode": (training_mode, set()),
    "curve": (lambda given: offshelf.learning_curve(given.scenes), {"learning_curve"}),
    "compare": (
        lambda given: offshelf.compare(
            given.scenes, offshelf.CompareSettings(heads=HeadAxes(heads=("svm", "ridge")))
        ).plot(),
        {"compare"},
    ),
    "estimators": (estimators, {"TransferClassifier", "FeatureExtractor"}),
    "commands": (commands, set()),
    "functions": (functions, FUNCTIONS),
}


def test_every_public_name_is_called() -> None:
    covered = set().union(*(names for _, names in CALLS.values()))
    assert covered == set(offshelf.__all__) - {"__version__"}


@pytest.mark.slow
@linux
@pytest.mark.parametrize("call", CALLS)
def test_a_call_changes_nothing_of_the_process(call: str, given: Inputs) -> None:
    run = CALLS[call][0]
    process_state.process_state()
    run(given)  # imports, once
    gc.unfreeze()  # what others froze may die meanwhile, and then fewer objects are frozen
    before = process_state.process_state()
    run(given)
    after = process_state.process_state()
    found = process_state.difference(before, after)
    assert {name: pair for name, pair in found.items() if name not in KEPT} == {}


COLD = """
import json, logging, sys, warnings
import matplotlib.figure, numpy, pyarrow.parquet, scipy.special, sklearn.svm, torch
from PIL import Image
sys.path.insert(0, sys.argv[1])
from process_state import difference, process_state
Image.init()
logging.getLogger("a user's own")
before = process_state()
import offshelf
from offshelf.engine.contract import EngineOptions
from offshelf.jobs.setup.settings import HeadSettings, RunSettings
offshelf.fit(sys.argv[2], head=HeadSettings(head="fc"))
offshelf.fit(sys.argv[2], sys.argv[3], run=RunSettings(engine=EngineOptions(precision="int8")))
offshelf.explain(sys.argv[3], sys.argv[4])._repr_png_()
found = difference(before, process_state())
for name in ("open files", "threads", "temporary files", "sys.path"):
    found.pop(name, None)
filters = found.pop("warning filters", ([], []))
by_libraries = [repr(one) for one in filters[1] if one not in filters[0]]
print(json.dumps([{name: repr(pair) for name, pair in found.items()}, by_libraries]))
print(json.dumps([name for name in sys.modules if name.startswith("openvino_telemetry")]))
"""


@pytest.mark.slow
@linux
def test_the_first_calls_of_a_process_leave_only_what_libraries_do(
    scenes: Path, tmp_path: Path
) -> None:
    image = next((scenes / "test").rglob("*.png"))
    words = [str(Path(__file__).parent), str(scenes), str(tmp_path / "a.offshelf"), str(image)]
    done = subprocess.run(
        [sys.executable, "-c", COLD, *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OFFSHELF_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    changed, filters = json.loads(done.stdout.splitlines()[0])
    assert changed == {}
    assert all("offshelf" not in one for one in filters)
    assert json.loads(done.stdout.splitlines()[1]) == [], "usage reporting was loaded"


PARALLEL = """
import sys, threading, warnings
from pathlib import Path
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
from offshelf import TransferClassifier
from offshelf.data.decode import as_rgb

paths = sorted(map(str, Path(sys.argv[1], "train").rglob("*.png")))
labels = [Path(path).parent.name for path in paths]
as_rgb(paths[0])
numbers, classes = [[0], [1]] * 5, [0, 1] * 5
forest = RandomForestClassifier(4, n_jobs=2, random_state=0)
print(forest.fit(numbers, classes).predict([[1]]).tolist())

stop = threading.Event()
def decode():
    while not stop.is_set():
        for path in paths:
            as_rgb(path)
threads = [threading.Thread(target=decode) for _ in range(2)]
for thread in threads:
    thread.start()
try:
    for _ in range(10):
        print(forest.fit(numbers, classes).predict([[1]]).tolist())
finally:
    stop.set()
    for thread in threads:
        thread.join()
print(cross_val_score(TransferClassifier(), paths, labels, cv=2).tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize("warnings", [(), ("-W", "error::UserWarning")], ids=["plain", "error"])
def test_parallel_work_of_scikit_learn_runs_after_decoding_and_beside_it(
    warnings: tuple[str, ...], scenes: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, *warnings, "-c", PARALLEL, str(scenes)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OFFSHELF_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[1]"] * 11 + ["[1.0, 1.0]"]
