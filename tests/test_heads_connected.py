"""Fully connected heads: they learn, repeat themselves, stop early and leave torch as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from made_features import made_features
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.kinds import fc
from offshelf.heads.kinds.fc import _split
from offshelf.heads.numerics.row_scaling import scaled_block
from offshelf.heads.options import Options


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, list[str]]:
    features, targets = load_digits(return_X_y=True)
    return features.astype(np.float32), targets.astype(np.int64), [str(i) for i in range(10)]


@pytest.mark.parametrize(("kind", "least"), [("fc", 0.93), ("fc:64", 0.95)])
def test_digits_are_learned(kind, least, digits):
    features, targets, classes = digits
    train, test = np.arange(1797) % 2 == 0, np.arange(1797) % 2 == 1
    head = fit_head(Recipe(kind=kind), features[train], targets[train], classes)
    assert (decision(head, features[test]).argmax(axis=1) == targets[test]).mean() > least
    noted = head.parameters
    assert noted["hidden"] == (64 if kind == "fc:64" else 0)
    assert 0 < noted["best_epoch"] <= noted["epochs"] <= fc.MAX_EPOCHS
    assert noted["epochs"] - noted["best_epoch"] <= fc.PATIENCE
    assert 90 <= noted["validation_rows"] <= 130


@pytest.mark.slow
def test_one_layer_comes_near_to_logistic_regression(digits):
    features, targets, classes = digits
    head = fit_head(Recipe(kind="fc"), features[:900], targets[:900], classes)
    model = LogisticRegression(C=100, max_iter=5000)
    model.fit(scaled_block(features[:900], "l2"), targets[:900])
    same = decision(head, features[900:]).argmax(axis=1) == model.predict(
        scaled_block(features[900:], "l2")
    )
    assert same.mean() > 0.93


@pytest.mark.parametrize("kind", ["fc", "fc:9"])
def test_the_recorded_loss_is_that_of_the_saved_weights_on_the_rows_held_back(kind):
    features, targets, classes = made_features(3, 80, 10)
    head = fit_head(Recipe(kind=kind, seed=2), features, targets, classes)
    _, held = _split(targets, Options(seed=2))
    scores = torch.from_numpy(decision(head, features[held]))
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(targets[held]))
    assert float(loss) == pytest.approx(head.parameters["validation_loss"], rel=1e-4)
    assert len(held) == head.parameters["validation_rows"]


def test_torch_is_left_as_it_was():
    features, targets, classes = made_features(3, 60, 10)
    torch.manual_seed(11)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    fit_head(Recipe(kind="fc:5"), features, targets, classes)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_scores_do_not_depend_on_the_scale_or_place_of_the_features():
    features, targets, classes = made_features(3, 60, 10)
    plain = fit_head(Recipe(kind="fc", normalisation="none"), features, targets, classes)
    far = 1000 * features.astype(np.float64) + 5000
    moved = fit_head(Recipe(kind="fc", normalisation="none"), far, targets, classes)
    same = decision(plain, features).argmax(axis=1) == decision(moved, far).argmax(axis=1)
    assert same.mean() > 0.95


def test_weight_decay_follows_c_and_auto_is_told(monkeypatch):
    monkeypatch.setattr(fc, "MAX_EPOCHS", 30)
    monkeypatch.setattr(fc, "PATIENCE", 2)
    features, targets, classes = made_features(3, 60, 10)
    decays = [
        fit_head(Recipe(kind="fc", c=c), features, targets, classes).parameters["weight_decay"]
        for c in (1e-6, 0.1, 1.0)
    ]
    assert decays == pytest.approx([10.0, 0.1, 0.01])
    head = fit_head(Recipe(kind="fc", c="auto"), features, targets, classes)
    assert head.parameters["C"] == 1.0
    assert head.notes[0] == "fc: C is not searched, early stopping regularises; C=1 was taken"


def test_a_loss_that_still_falls_is_told(monkeypatch):
    monkeypatch.setattr(fc, "MAX_EPOCHS", 2)
    features, targets, classes = made_features(3, 60, 10)
    head = fit_head(Recipe(kind="fc"), features, targets, classes)
    assert head.notes == ("fc: the loss still fell after 2 epochs",)


def test_balanced_classes_weight_the_loss(monkeypatch):
    monkeypatch.setattr(fc, "MAX_EPOCHS", 30)
    features, targets, classes = made_features(2, 300, 10)
    kept = np.flatnonzero((targets == 0) | (np.arange(300) % 12 == 0))
    recalls = []
    for weight in (None, "balanced"):
        head = fit_head(
            Recipe(kind="fc", class_weight=weight), features[kept], targets[kept], classes
        )
        guesses = decision(head, features).argmax(axis=1)
        recalls.append((guesses[targets == 1] == 1).mean())
    assert recalls[1] > recalls[0]


@pytest.mark.parametrize("counts", [(1, 1), (1, 9), (2, 2, 2), (40, 3)])
def test_every_class_keeps_a_row_to_learn_from(counts):
    targets = np.repeat(np.arange(len(counts)), counts)
    kept, held = _split(targets, Options())
    assert set(targets[kept]) == set(range(len(counts)))
    assert len(held) > 0
    assert not set(kept) & set(held) or counts == (1, 1)


def test_features_without_any_spread_are_no_error():
    head = fit_head(Recipe(kind="fc"), np.ones((6, 3), np.float32), np.arange(6) % 2, ["a", "b"])
    assert np.isfinite(decision(head, np.ones((1, 3), np.float32))).all()


@pytest.mark.parametrize("seed", range(6))
def test_rows_held_back_are_whole_groups(seed):
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, 3, 120)
    groups = 3 * draw.integers(0, 20, 120) + targets
    kept, held = _split(targets, Options(seed=seed, groups=groups))
    assert not set(groups[kept]) & set(groups[held])
    assert set(targets[kept]) == set(targets[held]) == {0, 1, 2}
    assert 120 / 16 < len(held) < 120 / 4


def test_a_large_group_is_not_held_back():
    targets = np.repeat([0, 1], 50)
    groups = np.concatenate([np.zeros(40), np.arange(1, 61)]).astype(np.int64)
    kept, held = _split(targets, Options(groups=groups))
    assert 0 not in groups[held]
    assert set(targets[held]) == {0, 1}
    assert len(kept) + len(held) == 100


def test_where_each_class_is_of_one_group_all_rows_are_learned_and_stopped_on():
    targets = np.repeat([0, 1], 5)
    kept, held = _split(targets, Options(groups=targets))
    assert kept.tolist() == held.tolist() == list(range(10))
