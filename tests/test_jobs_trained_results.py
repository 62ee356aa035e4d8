"""Results of training in the cache: the same bits, made anew where anything is another."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from offshelf import cache, files
from offshelf.engine.contract import EngineOptions
from offshelf.features.reader import ReadOptions
from offshelf.features.store.feature_store import FeatureStore
from offshelf.heads.probabilities.probability_model import ProbabilitySettings
from offshelf.jobs.audit.job import audit
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.fit.job import fit
from offshelf.jobs.setup import trained_results
from offshelf.jobs.setup.settings import HeadSettings, RunSettings
from offshelf.jobs.setup.trained_results import Form, Kept
from offshelf.progress import Silent, notifying

WORK = {
    "head": "offshelf.jobs.fit.job.trainer_of",
    "probabilities": "offshelf.jobs.fit.job.fit_certainty",
    "answers": "offshelf.jobs.fit.evaluation.answers_of",
    "margins": "offshelf.jobs.audit.job.judge",
    "links": "offshelf.jobs.audit.job.find_links",
}
FIT = Counter(head=1, probabilities=1, answers=1)
NOTHING: Counter[str] = Counter()
ARRAYS = Form[dict[str, Any]](lambda found: (found, "text"), lambda arrays, _: dict(arrays))


@pytest.fixture(scope="module")
def world(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Images, and a cache that holds their features and nothing that was trained."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(scenes, folder / "images")
    fit(folder / "images", run=run_of(folder / "cache"))
    audit(folder / "images", run=run_of(folder / "cache"))
    shutil.rmtree(cache.trained_folder(folder / "cache"))
    return folder / "images", folder / "cache"


@pytest.fixture
def images(world: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(world[0], tmp_path / "images"))


@pytest.fixture
def root(world: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(world[1], tmp_path / "cache"))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What was computed."""
    found: Counter[str] = Counter()

    def counted(name: str, own: Any) -> Any:
        def work(*given: Any, **named: Any) -> Any:
            found[name] += 1
            return own(*given, **named)

        return work

    for name, place in WORK.items():
        module, _, attribute = place.rpartition(".")
        own = getattr(__import__(module, fromlist=[attribute]), attribute)
        monkeypatch.setattr(place, counted(name, own))
    return found


def run_of(root: Path, **more: Any) -> RunSettings:
    return RunSettings(EngineOptions(cache_dir=root), **more)


def said(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("seconds", "model")}


CASES: dict[str, tuple[HeadSettings, ProbabilitySettings]] = {
    "as usual": (HeadSettings(), ProbabilitySettings()),
    "C and a rejection": (
        HeadSettings("logistic", c="auto", class_weight="balanced"),
        ProbabilitySettings("sigmoid", reject=0.2),
    ),
    "a reduction": (
        HeadSettings("ridge", normalisation="standard", reduction="pca:4"),
        ProbabilitySettings("none", reject=0.2, reject_by="centroid_distance"),
    ),
    "no probabilities": (HeadSettings("knn:3"), ProbabilitySettings("none", unlike=False)),
}


@pytest.mark.parametrize(
    "case", [pytest.param(one, marks=[pytest.mark.slow] * (one != "as usual")) for one in CASES]
)
def test_a_second_fit_computes_nothing_and_says_the_same(
    case: str, images: Path, root: Path, done: Counter[str], tmp_path: Path, monkeypatch: Any
) -> None:
    head, probability = CASES[case]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    read: list[int] = []
    wrong: set[int] = set()
    own = FeatureStore.read

    def reading(store: FeatureStore, digests: list[bytes]) -> Any:
        read.append(len(digests))
        return own(store, digests)

    monkeypatch.setattr(FeatureStore, "read", reading)

    def once(name: str, **more: Any) -> tuple[dict[str, Any], bytes, list[str]]:
        path, progress = tmp_path / name, Silent()
        given = {"head": head, "probability": probability, "progress": progress}
        result = fit(images, path, **given, run=run_of(root, **more))
        wrong.add(len(result.mistakes))
        return said(result.to_json()), path.read_bytes(), progress.notes

    first = once("one.offshelf")
    assert done == FIT
    assert sum(read) >= 30
    read.clear()
    assert once("two.offshelf") == first
    assert done == FIT
    assert sum(read) == wrong.pop()
    assert once("three.offshelf", reading=ReadOptions(rehash=True)) == first
    assert done == FIT + FIT


def relabelled(images: Path) -> None:
    (images / "train/noise/0.png").rename(images / "train/checks/noise.png")


def changed(images: Path) -> None:
    shutil.copyfile(images / "test/noise/0.png", images / "train/noise/0.png")


def removed(images: Path) -> None:
    (images / "train/noise/0.png").unlink()


OTHER: dict[str, tuple[Callable[[Path], None] | None, dict[str, Any]]] = {
    "a label": (relabelled, {}),
    "a file": (changed, {}),
    "a file less": (removed, {}),
    "C": (None, {"head": HeadSettings(c=2.0)}),
    "head": (None, {"head": HeadSettings("ridge")}),
    "normalisation": (None, {"head": HeadSettings(normalisation="none")}),
    "reduction": (None, {"head": HeadSettings(reduction="pca:3")}),
    "class weight": (None, {"head": HeadSettings(class_weight="balanced")}),
    "calibration": (None, {"probability": ProbabilitySettings("sigmoid")}),
    "rejection": (None, {"probability": ProbabilitySettings(reject=0.2)}),
    "seed": (None, {"run": {"seed": 1}}),
    "rehash": (None, {"run": {"reading": ReadOptions(rehash=True)}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHER)
def test_whatever_decides_a_head_makes_another(
    other: str, images: Path, root: Path, done: Counter[str]
) -> None:
    fit(images, run=run_of(root))
    change, given = OTHER[other]
    if change is not None:
        change(images)
    more = {**given, "run": run_of(root, **given.get("run", {}))}
    done.clear()
    found = fit(images, **more)
    assert done == FIT
    shutil.rmtree(cache.trained_folder(root))
    assert said(found.to_json()) == said(fit(images, **more).to_json())


def test_other_test_images_are_answered_by_the_head_that_is_known(
    images: Path, root: Path, done: Counter[str]
) -> None:
    fit(images, run=run_of(root))
    done.clear()
    (images / "test/noise/0.png").unlink()
    fit(images, run=run_of(root))
    assert done == Counter(answers=1)


def test_labels_of_test_images_decide_no_answer(
    images: Path, root: Path, done: Counter[str]
) -> None:
    first = fit(images, run=run_of(root)).evaluation
    (images / "test/noise/3.png").rename(images / "test/noise/4.png")
    (images / "test/stripes/3.png").rename(images / "test/noise/3.png")
    (images / "test/noise/4.png").rename(images / "test/stripes/3.png")
    done.clear()
    second = fit(images, run=run_of(root)).evaluation
    assert second.accuracy < first.accuracy
    assert done["head"] == 0


def test_libraries_threads_and_code_decide_the_place(
    images: Path, root: Path, done: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(images, run=run_of(root))
    done.clear()
    # More than there are, so that it is another number on any machine.
    with threadpool_limits(3 + (os.cpu_count() or 1), user_api="blas"):
        fit(images, run=run_of(root))
    assert done == FIT
    for name, value in (("installed", lambda _: "0"), ("_code", lambda: "other")):
        with monkeypatch.context() as patched:
            patched.setattr(trained_results, name, value)
            fit(images, run=run_of(root))
    assert done == FIT + FIT + FIT


def test_a_second_audit_computes_nothing_and_finds_the_same(
    images: Path, root: Path, done: Counter[str]
) -> None:
    relabelled(images)
    every = Counter(margins=1, links=1)
    first = audit(images, run=run_of(root))
    assert done == every
    assert said(audit(images, run=run_of(root)).to_json()) == said(first.to_json())
    assert done == every
    again = run_of(root, reading=ReadOptions(rehash=True))
    assert said(audit(images, run=again).to_json()) == said(first.to_json())
    assert done == every + every


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "bounds", "more", "expected"),
    [
        (None, Bounds(folds=3), {}, Counter(margins=1)),
        (None, Bounds(hash_distance=3), {}, Counter(links=1)),
        (None, Bounds(cosine=0.5), {}, Counter(links=1)),
        (None, Bounds(margin=0.9, class_size=1), {}, NOTHING),
        (None, Bounds(), {"seed": 1}, Counter(margins=1)),
        # In the order of the files it stays where it was.
        (relabelled, Bounds(), {}, Counter(margins=1)),
        (removed, Bounds(), {}, Counter(margins=1, links=1)),
    ],
)
def test_whatever_decides_a_finding_is_looked_at(
    change: Callable[[Path], None] | None,
    bounds: Bounds,
    more: dict[str, Any],
    expected: Counter[str],
    images: Path,
    root: Path,
    done: Counter[str],
) -> None:
    audit(images, run=run_of(root))
    done.clear()
    if change is not None:
        change(images)
    found = audit(images, bounds=bounds, run=run_of(root, **more))
    assert done == expected
    shutil.rmtree(cache.trained_folder(root))
    again = audit(images, bounds=bounds, run=run_of(root, **more))
    assert said(found.to_json()) == said(again.to_json())


def place_of(root: Path, digest: str = "0" * 64, **more: Any) -> Kept[dict[str, Any]]:
    return Kept(root=root, digest=digest, form=ARRAYS, **more)


def arrays() -> dict[str, Any]:
    return {"one": np.arange(6.0).reshape(2, 3), "none": np.empty((0, 3), np.float16)}


def test_no_damage_is_believed(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    place.keep(arrays())
    whole = place.path.read_bytes()
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        place.path.write_bytes(damaged)
        progress = Silent()
        with notifying(progress):
            found = place.find()
        assert found is None, at
        assert progress.notes == [f"{place.path}: damaged, set aside; it is made again"]
        assert not place.path.exists()
    for end in (0, 5, 8, 60, len(whole) - 1):
        place.path.write_bytes(whole[:end])
        assert place.find() is None
    place.path.write_bytes(whole)
    assert {name: one.tolist() for name, one in (place.find() or {}).items()} == {
        name: one.tolist() for name, one in arrays().items()
    }


def test_what_belongs_to_another_place_is_not_believed(tmp_path: Path) -> None:
    place_of(tmp_path).keep(arrays())
    other = place_of(tmp_path, "1" * 64)
    other.path.parent.mkdir()
    shutil.copyfile(place_of(tmp_path).path, other.path)
    assert other.find() is None


def test_a_sound_file_with_an_impossible_result_is_set_aside(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    place.keep(arrays())

    def refuse(*_: Any) -> Any:
        raise KeyError("head")

    assert dataclasses.replace(place, form=Form(ARRAYS.pack, refuse)).find() is None
    assert place.path.with_suffix(".damaged").is_file()


def test_a_write_that_is_stopped_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(tmp_path)

    def stopped(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(files, "_sync", stopped)
        with pytest.raises(KeyboardInterrupt):
            place.keep(arrays())
    assert not place.path.exists()
    assert place.find() is None
    assert place.take(arrays).keys() == arrays().keys()
    assert place.find() is not None


def test_where_nothing_can_be_written_results_are_made_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    place = place_of(tmp_path / "file")
    assert place.take(arrays).keys() == place.take(arrays).keys() == arrays().keys()


def test_large_results_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_results, "MOST_BYTES", 47)
    place_of(tmp_path).keep(arrays())
    assert not place_of(tmp_path).path.exists()
    monkeypatch.setattr(trained_results, "MOST_BYTES", 48)
    place_of(tmp_path).keep(arrays())
    assert place_of(tmp_path).path.exists()


def test_over_the_limit_the_least_recently_used_goes(tmp_path: Path) -> None:
    places = [place_of(tmp_path, f"{number}" * 64, size="4.5K") for number in range(6)]
    for number, place in enumerate(places):
        place.keep({"one": np.zeros(250, np.float32)})
        for mark in (place.path.parent, place.path.parent / cache.USED):
            os.utime(mark, (number, number))
    assert [place.find() is not None for place in places] == [False] * 3 + [True] * 3
    assert 0 < cache.sizes(tmp_path)[cache.TRAINED] <= 4500


def test_many_at_once_get_the_same(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: place.take(arrays)["one"].tolist(), range(64)))
    assert found == [arrays()["one"].tolist()] * 64
    assert sorted(path.name for path in place.path.parent.iterdir()) == [
        trained_results.NAME,
        cache.USED,
    ]
