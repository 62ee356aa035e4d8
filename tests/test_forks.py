"""Forked from a process that has run a network: an answer or one line, never a wait for ever."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from offshelf import TransferClassifier, errors
from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.engine.contract import Engine, EngineOptions, Tap
from offshelf.engine.selection import open_engine
from offshelf.engine.torch_engine.gradients import Probe
from offshelf.engine.torch_engine.training_mode import TrainingMode
from offshelf.errors import (
    EngineError,
    ImageError,
    MissingExtraError,
    MissingPathError,
    OffshelfError,
)
from offshelf.heads.fitting.fit_head import Recipe, fit_head
from offshelf.heads.numerics.blas_threads import run_in_threads
from offshelf.locks import process_lock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    # Newer Pythons warn of what is tried here.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
REFUSED = (
    "offshelf had run a network before this process was forked, and none can run here: "
    "start processes with multiprocessing.get_context('spawn')"
)
SECONDS = 60
TAP = Tap("fc:in", "avg")
TASKS: list[Callable[[], Any]] = []


def call(_: int) -> Any:
    try:
        return TASKS[-1]()
    except OffshelfError as error:
        return str(error)


def forked(task: Callable[[], Any]) -> Any:
    """Return what *task* returns in a process that is forked now; the text of its error."""
    TASKS.append(task)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map_async(call, [0]).get(SECONDS)[0]


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return open_backbone("timm/test_resnet", weights="random")


@pytest.fixture(scope="module", params=["openvino", "torch"])
def engine(request: pytest.FixtureRequest, tiny: Backbone) -> Iterator[Engine]:
    made = open_engine(tiny, [TAP], EngineOptions(engine=request.param, device="cpu"))
    yield made
    made.close()


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 160, 160, 3), np.uint8)


def test_an_engine_answers_in_a_forked_process_or_says_to_use_spawn(
    engine: Engine, tiny: Backbone
) -> None:
    expected = engine.run(PIXELS)[TAP]

    def anew() -> Any:
        options = EngineOptions(engine=engine.name, device="cpu")
        return open_engine(tiny, [TAP], options).run(PIXELS)[TAP]

    for task in (lambda: engine.run(PIXELS)[TAP], anew):
        found = forked(task)
        if engine.name == "openvino":
            assert found == REFUSED
        else:
            assert np.array_equal(found, expected)
    assert np.array_equal(engine.run(PIXELS)[TAP], expected)


def test_torch_at_work_before_does_no_harm(tiny: Backbone) -> None:
    images = torch.ones(2, 64, 64, 64)
    torch.nn.functional.conv2d(images, torch.ones(64, 64, 3, 3))
    probe = Probe(tiny, TAP, ["layer2"], PIXELS[0])
    expected = probe.gradient(np.ones(len(probe.features)), "layer2")

    def gradient() -> Any:
        probe = Probe(tiny, TAP, ["layer2"], PIXELS[0])
        return probe.gradient(np.ones(len(probe.features)), "layer2")

    assert np.array_equal(forked(gradient), expected)
    trained = TrainingMode(tiny, TAP).run(PIXELS, training=True)
    again = forked(lambda: TrainingMode(tiny, TAP).run(PIXELS, training=True))
    assert np.array_equal(again, trained)


@pytest.mark.parametrize("kind", ["svm", "ridge", "fc"])
def test_heads_are_fitted_after_a_fork(kind: str) -> None:
    features = np.random.default_rng(1).normal(size=(60, 300)).astype(np.float32)
    targets = np.arange(60) % 3

    def fitted() -> Any:
        return fit_head(Recipe(kind=kind), features, targets, ["a", "b", "c"]).arrays

    expected = fitted()
    found = forked(fitted)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_classifier_in_a_pool_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFSHELF_CACHE_DIR", str(tmp_path / "cache"))
    paths, draw = [], np.random.default_rng(0)
    for number in range(8):
        path = tmp_path / f"{number}.png"
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
        paths.append(str(path))
    classifier = TransferClassifier().fit(paths[:6], list("ababab"))
    # The features of these are stored, of the others not.
    stored = classifier.predict(paths[:6]).tolist()
    assert forked(lambda: classifier.predict(paths[:6]).tolist()) == stored
    assert forked(lambda: classifier.predict(paths[6:]).tolist()) == REFUSED
    expected = classifier.predict(paths[6:]).tolist()
    spawned = multiprocessing.get_context("spawn").Pool(1)
    with spawned as pool:
        assert pool.map_async(classifier.predict, [paths[6:]]).get(SECONDS)[0].tolist() == expected


def ends(child: int) -> int | None:
    for _ in range(SECONDS * 20):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


SCRIPT = """
import os, sys
import numpy as np
from offshelf.backbones.backbone import open_backbone
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import open_engine
backbone, tap = open_backbone("timm/test_resnet", weights="random"), Tap("fc:in", "avg")
engine = open_engine(backbone, [tap], EngineOptions(engine="openvino"))
engine.run(np.zeros((1, 160, 160, 3), np.uint8))
sys.exit(0 if os.fork() == 0 else os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_forked_process_ends() -> None:
    # As servers do that fork their workers: Python takes everything apart at the end.
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", SCRIPT], dict(os.environ))
    assert ends(child) == 0


def test_a_lock_held_by_another_thread_is_free_in_a_forked_process() -> None:
    lock = process_lock()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert forked(lambda: lock.acquire(timeout=1))
        assert lock.locked()
    finally:
        done.set()
        thread.join()


def test_sharing_out_while_another_thread_shares_out_and_a_process_is_forked() -> None:
    begun, done = threading.Event(), threading.Event()

    def long(numbers: Any) -> int:
        begun.set()
        done.wait()
        return len(numbers)

    thread = threading.Thread(target=run_in_threads, args=(long, 1, 10))
    thread.start()
    begun.wait()
    try:
        assert forked(lambda: run_in_threads(len, 3, 10)) == [3]
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "error",
    [
        OffshelfError("a: b"),
        ImageError("truncated", "ends early"),
        MissingExtraError("lite1", "lite"),
        MissingPathError("a.csv: no such file", ("a.csv",)),
        EngineError("no"),
    ],
)
def test_errors_come_back_from_another_process_as_they_were(error: OffshelfError) -> None:
    found = pickle.loads(pickle.dumps(error))  # noqa: S301  (made here)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_every_error_is_among_those() -> None:
    own = [
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, OffshelfError) and "__init__" in vars(one)
    ]
    assert {one.__name__ for one in own} == {"ImageError", "MissingExtraError", "MissingPathError"}
