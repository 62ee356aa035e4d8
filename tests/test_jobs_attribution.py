"""Sums over cells: they add up, gradients are gradients, Grad-CAM is its definition."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offshelf.errors import HeadError
from offshelf.heads.head import FittedHead
from offshelf.heads.kinds.linear import linear_weights
from offshelf.jobs.visualise import attribution
from offshelf.jobs.visualise.attribution import ClassMap


def draw(seed: int, channels: int, count: int) -> tuple[np.ndarray, np.random.Generator]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(channels, count)).astype(np.float32), generator


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 9), st.sampled_from(("l2", "none")))
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("pooling", [*attribution.SUMMED, "pyramid", "pyramid:5"])
def test_summands_add_up_to_the_score(
    pooling: str, seed: int, channels: int, count: int, normalisation: str
) -> None:
    values, generator = draw(seed, channels, count)
    features = attribution.pooled(values, pooling)
    weight = generator.normal(size=features.shape)
    head = FittedHead("svm", ("a", "b"), {}, {}, normalisation)  # type: ignore[arg-type]
    length = attribution.feature_length(head, features)
    parts = attribution.summands(values, weight, pooling, length)
    assert parts.shape == (count,)
    assert parts.sum() == pytest.approx(float(weight @ features) / length, abs=1e-9)


def test_the_largest_of_a_channel_belongs_to_the_first_of_its_places() -> None:
    values = np.array([[0.0, 2.0, 2.0], [5.0, 0.0, 1.0]])
    parts = attribution.summands(values, np.array([1.0, 10.0]), "max", 1.0)
    assert parts.tolist() == [50.0, 2.0, 0.0]


def test_features_of_zeros_are_divided_by_one() -> None:
    head = FittedHead("svm", ("a", "b"), {}, {}, "l2")
    assert attribution.feature_length(head, np.zeros(4, np.float32)) == 1.0


@pytest.mark.parametrize("side", [2, 3, 7, 8])
@pytest.mark.parametrize(
    "pooling", [*attribution.SUMMED, "pyramid", *(f"pyramid:{cells}" for cells in range(3, 9))]
)
def test_pooling_is_the_engine_s(pooling: str, side: int) -> None:
    import torch

    from offshelf.engine.torch_engine.tapped_network import pool

    values, _ = draw(0, 5, side * side)
    expected = pool(torch.from_numpy(values.reshape(1, 5, side, side)), pooling)[0].numpy()
    assert np.abs(attribution.pooled(values, pooling) - expected).max() < 1e-6
    # Tokens: two without a place come first.
    values, _ = draw(0, 5, side * side + 2)
    expected = pool(torch.from_numpy(values.T[None].copy()), pooling)[0].numpy()
    assert np.abs(attribution.pooled(values, pooling) - expected).max() < 1e-6


def test_a_position_adds_to_every_cell_that_it_lies_in() -> None:
    """The middle of 3 x 3 positions lies in all four overlapping cells, a corner in one."""
    values = np.zeros((1, 9))
    values[0, 4], values[0, 0] = 9.0, 9.0
    weight = np.array([1.0, 4.0, 4.0, 4.0, 8.0])
    parts = attribution.summands(values, weight, "pyramid", 1.0)
    assert parts.reshape(3, 3).tolist() == [[10.0, 0.0, 0.0], [0.0, 46.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("normalised", [True, False])
def test_the_gradient_of_a_score_is_its_slope(normalised: bool) -> None:
    generator = np.random.default_rng(0)
    features, weight = generator.normal(size=6), generator.normal(size=6)

    def score(at: np.ndarray) -> float:
        return float(weight @ at / (np.linalg.norm(at) if normalised else 1.0))

    step = 1e-6
    slopes = [
        (score(features + step * one) - score(features - step * one)) / (2 * step)
        for one in np.eye(6)
    ]
    found = attribution.score_gradient(features, weight, normalised)
    assert np.abs(found - slopes).max() < 1e-7
    assert np.isfinite(attribution.score_gradient(np.zeros(6), weight, normalised)).all()


def test_grad_cam_is_the_sum_of_maps_by_mean_gradient() -> None:
    maps = np.zeros((2, 2, 2))
    maps[0, 0, 0], maps[1, 1, 1] = 1.0, 1.0
    gradients = np.stack([np.full((2, 2), 3.0), np.full((2, 2), -1.0)])
    assert attribution.grad_cam(maps, gradients).tolist() == [[3.0, 0.0], [0.0, -1.0]]


def test_a_difference_adds_up_where_its_parts_do() -> None:
    first = ClassMap(name="a", score=3.0, bias=0.5, cells=np.array([[2.0, 0.25]]), elsewhere=0.25)
    second = ClassMap(name="b", score=1.0, bias=-1.0, cells=np.array([[1.5, 0.5]]))
    assert first.residual == second.residual == first.minus(second).residual == 0.0
    assert first.minus(second).name == "a - b"
    assert first.to_json()["sum_of_cells"] == 2.25


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"weight": np.ones((2, 3)), "bias": np.ones(2)}, True),
        ({"weight": np.ones((3, 3)), "bias": np.ones(3)}, False),
        ({"rows": np.ones((2, 3))}, False),
    ],
)
def test_a_linear_head_is_told_by_its_arrays(arrays, expected: bool) -> None:
    head = FittedHead("x", ("a", "b"), arrays, {}, "l2")
    with nullcontext() if expected else pytest.raises(HeadError, match="head x is not linear"):
        assert linear_weights(head)[0].shape == (2, 3)
