"""Work shared out to threads: every problem once, BLAS as it was before."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg.blas  # noqa: F401
from threadpoolctl import threadpool_info

from offshelf.heads.numerics import blas_threads
from offshelf.heads.numerics.blas_threads import run_in_threads


def _threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def two_threads(monkeypatch):
    controller, _ = blas_threads._blas()
    monkeypatch.setattr(blas_threads, "_blas", lambda: (controller, 2))


@pytest.mark.parametrize(("count", "values", "parts"), [(7, 4096, 2), (1, 10**6, 1), (5, 10, 1)])
@pytest.mark.usefixtures("two_threads")
def test_every_problem_is_done_once(count, values, parts):
    done = run_in_threads(lambda chosen: chosen, count, values)
    assert len(done) == parts
    assert sorted(np.concatenate(done)) == list(range(count))


@pytest.mark.usefixtures("two_threads")
def test_blas_has_one_thread_meanwhile_and_its_own_number_after():
    before = _threads()
    seen = run_in_threads(lambda _: _threads(), 4, 10**6)
    assert seen == [{1}, {1}]
    assert _threads() == before


@pytest.mark.usefixtures("two_threads")
def test_an_error_comes_through_and_lets_go_of_blas():
    before = _threads()

    def fail(chosen):
        raise ZeroDivisionError("inside")

    with pytest.raises(ZeroDivisionError, match="inside"):
        run_in_threads(fail, 4, 10**6)
    assert _threads() == before


@pytest.mark.usefixtures("two_threads")
def test_users_in_several_threads_take_turns():
    before, inside, most = _threads(), [], []

    def work(_):
        inside.append(1)
        time.sleep(0.01)
        most.append(len(inside))
        inside.pop()
        return _threads()

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: run_in_threads(work, 1, 1), range(4)))
    assert seen == [[{1}]] * 4
    assert max(most) == 1
    assert _threads() == before


FIT = """
import sys
import numpy as np
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
draw = np.random.default_rng(0)
targets = np.arange(240) % 6
centres = draw.normal(size=(6, 500))
features = (0.35 * centres[targets] + draw.normal(size=(240, 500))).astype(np.float32)
heads = ("svm", "logistic", "ridge", "lda", "knn", "centroid")
fitted = [fit_head(Recipe(kind=kind), features, targets, list("abcdef")) for kind in heads]
np.savez(sys.argv[1], **{head.kind: decision(head, features) for head in fitted})
"""


@pytest.mark.slow
def test_another_number_of_blas_threads_moves_scores_by_next_to_nothing(tmp_path: Path) -> None:
    scores = []
    for threads in ("1", "2"):
        target = tmp_path / f"{threads}.npz"
        limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        environment = os.environ | limits
        subprocess.run([sys.executable, "-c", FIT, str(target)], check=True, env=environment)
        scores.append(dict(np.load(target)))
    one, two = scores
    assert len(one) == 6
    for kind, values in one.items():
        assert np.array_equal(values.argmax(1), two[kind].argmax(1)), kind
        largest = max(1.0, np.abs(values).max())
        assert np.abs(values - two[kind]).max() <= 1e-5 * largest, kind
