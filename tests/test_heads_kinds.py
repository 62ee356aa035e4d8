"""What every kind of head keeps to: names, seeds, rows alone as in a batch, files, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from made_features import made_features
from offshelf.errors import HeadError, ModelFileError
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head, fit_prepared
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.kinds.registry import NAMES, get_fitter
from offshelf.heads.options import Options
from offshelf.heads.preparation.prepare import prepare

pytestmark = pytest.mark.usefixtures("few_epochs")


KINDS = (*NAMES, "knn:3", "fc:7")
WAYS = [
    ("l2", "none"),
    ("none", "none"),
    ("standard", "none"),
    ("sqrt", "none"),
    ("l2", "pca:5"),
    ("standard", "whiten:4"),
    ("sqrt", "random:6"),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("normalisation", "reduction"), WAYS)
@pytest.mark.parametrize("k", [2, 3])
def test_a_row_alone_scores_as_in_a_batch_and_as_after_saving(kind, normalisation, reduction, k):
    features, targets, classes = made_features(k, 40, 12)
    head = fit_head(
        Recipe(kind=kind, normalisation=normalisation, reduction=reduction, seed=1),
        features,
        targets,
        classes,
    )
    assert (head.kind, head.dimension, head.reduction) == (kind, 12, reduction)
    scores = decision(head, features)
    assert scores.shape == (40, k)
    assert np.isfinite(scores).all()
    for part in (slice(3, 4), slice(5, 17), slice(39, 40)):
        assert decision(head, features[part]).tobytes() == scores[part].tobytes()
    if k == 2 and not kind.startswith("knn"):
        assert np.array_equal(scores[:, 0], -scores[:, 1])
    arrays, document = pack_head(head)
    again = unpack_head(arrays, json.loads(json.dumps(document, allow_nan=False)))
    assert decision(again, features).tobytes() == scores.tobytes()
    assert (again.parameters, again.reduction) == (head.parameters, reduction)
    assert not any(array.flags.writeable for array in again.preparation.values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["none", "random:6"])
def test_a_seed_gives_the_same_head_every_time(kind, reduction):
    features, targets, classes = made_features(3, 60, 10)
    heads = [
        fit_head(Recipe(kind=kind, reduction=reduction, seed=seed), features, targets, classes)
        for seed in (4, 4, 5)
    ]
    first, again, other = (pack_head(head)[0] for head in heads)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    if kind.startswith("fc") or reduction != "none":
        assert any(first[name].tobytes() != other[name].tobytes() for name in first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(90, 8), (40, 60)], ids=["long", "wide"])
def test_every_kind_learns_and_its_parameters_are_json(kind, shape):
    features, targets, classes = made_features(3, *shape)
    head = fit_head(Recipe(kind=kind, normalisation="standard", c=10.0), features, targets, classes)
    assert (decision(head, features).argmax(axis=1) == targets).mean() > 0.7
    assert json.loads(json.dumps(dict(head.parameters))) == head.parameters


@pytest.mark.parametrize("kind", ["svm", "logistic", "ridge", "lda"])
def test_c_auto_is_one_of_the_grid(kind):
    features, targets, classes = made_features(3, 60, 20)
    head = fit_head(Recipe(kind=kind, c="auto"), features, targets, classes)
    grid = head.parameters["C_grid"]
    assert head.parameters["C"] in grid
    assert len(grid) == 7
    fixed = fit_head(Recipe(kind=kind, c=head.parameters["C"]), features, targets, classes)
    np.testing.assert_allclose(decision(head, features), decision(fixed, features), atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_prepared_rows_give_the_heads_of_single_calls(kind):
    features, targets, classes = made_features(4, 50, 70)
    prepared = prepare(features, reduction="pca:20", cs=[0.1, 1.0, 30.0, "auto"])
    for c in (0.1, 30.0):
        single = fit_head(Recipe(kind=kind, c=c, reduction="pca:20"), features, targets, classes)
        shared = fit_prepared(kind, prepared, targets, classes, Options(c=c))
        np.testing.assert_allclose(
            decision(shared, features), decision(single, features), atol=2e-4
        )


def test_inner_products_are_computed_once_for_all_c_that_were_named(monkeypatch):
    from offshelf.heads.svm import gram

    made = []
    plain = gram.inner_products
    monkeypatch.setattr(gram, "inner_products", lambda *given: made.append(1) or plain(*given))
    features, targets, classes = made_features(3, 40, 50)
    prepared = prepare(features, cs=[0.1, 10.0])
    for c in (0.1, 1.0, 10.0):
        fit_prepared("svm", prepared, targets, classes, Options(c=c))
    assert len(made) == 1
    fit_prepared("svm", prepared, targets, classes, Options(c=100.0))
    assert len(made) == 2


def test_features_are_not_copied_where_nothing_is_learned_of_them():
    features = np.ones((4, 3), np.float32)
    for normalisation in ("l2", "none"):
        assert prepare(features, normalisation=normalisation).rows.features is features


REFUSED = {
    "fc:0": "head 'fc:0': fc takes a whole number of hidden units from 1 to 65536, as in 'fc:5'",
    "fc:": "head 'fc:': fc takes a whole number of hidden units from 1 to 65536, as in 'fc:5'",
    "fc:99999999999": "head 'fc:99999999999': fc takes a whole number of hidden units from 1 to "
    "65536, as in 'fc:5'",
    "knn:x": "head 'knn:x': knn takes a whole number of neighbours from 1 to 65536, as in 'knn:5'",
    "knn:-1": "head 'knn:-1': knn takes a whole number of neighbours from 1 to 65536, "
    "as in 'knn:5'",
    "svm:3": "head 'svm:3': svm takes no number, use 'svm'",
    "kn:3": f"unknown head 'kn:3': the heads are {', '.join(NAMES)}. Did you mean 'knn'?",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_kind_that_is_none_is_one_line(kind):
    with pytest.raises(HeadError) as error:
        get_fitter(kind)
    assert str(error.value) == REFUSED[kind]


def test_a_class_weight_that_is_none_is_one_line():
    features, targets, classes = made_features(2, 20, 5)
    with pytest.raises(HeadError) as error:
        fit_head(Recipe(class_weight="equal"), features, targets, classes)  # type: ignore[arg-type]
    assert str(error.value) == "unknown class weight 'equal': use 'balanced' or None"


def _without(name):
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def _with(name, array):
    return lambda arrays: {**arrays, name: np.asarray(array, np.float32)}


DAMAGED = [
    ("knn:3", "none", _without("votes"), "holds the arrays ['k', 'targets', 'weight'] instead of"),
    ("knn:3", "none", _with("targets", [9.0] * 30), "targets that are none of its 3 classes"),
    ("knn:3", "none", _with("targets", [0.5] * 30), "targets that are none of its 3 classes"),
    ("knn:3", "none", _with("targets", [0.0]), "neighbours of shape (30, 8) and targets of shape"),
    ("knn:3", "none", _with("votes", [1, 0, 1]), "votes of shape (3,), or not above 0"),
    ("knn:3", "none", _with("k", [31]), "k = [31.0] for 30 neighbours"),
    ("knn:3", "none", _with("k", [1.5]), "k = [1.5] for 30 neighbours"),
    ("fc:5", "none", _without("out_bias"), "holds the arrays ['bias', 'out_weight', 'weight']"),
    ("fc:5", "none", _with("weight", np.ones((4, 8))), "shape (4, 8) for 5 hidden units"),
    ("fc:5", "none", _with("out_weight", np.ones((3, 4))), "weights of 4 for 5 units"),
    ("fc:5", "none", _with("out_bias", np.ones(2)), "biases of shape (2,) for 3 classes"),
    ("fc", "none", _with("weight", np.ones((2, 8))), "weights of shape (2, 8) for 3 classes"),
    (
        "svm",
        "pca:4",
        _without("preparation.centre"),
        "holds the preparation ['projection'] instead of ['centre', 'projection']",
    ),
    (
        "svm",
        "pca:4",
        _with("preparation.projection", np.ones((3, 8))),
        "a projection of shape (3, 8) for weights of 4 dimensions",
    ),
    (
        "svm",
        "pca:4",
        _with("preparation.centre", np.ones(7)),
        "'centre' of shape (7,) for 8 dimensions",
    ),
    (
        "svm",
        "random:4",
        _with("preparation.projection", np.full((4, 8), np.nan)),
        "array 'preparation.projection' holds NaN or infinity",
    ),
    ("svm", "none", _with("preparation.shift", np.ones(8)), "holds the preparation ['shift']"),
]


@pytest.mark.parametrize(("kind", "reduction", "change", "message"), DAMAGED)
def test_damaged_arrays_are_refused_in_one_line(kind, reduction, change, message):
    features, targets, classes = made_features(3, 30, 8)
    head = fit_head(Recipe(kind=kind, reduction=reduction), features, targets, classes)
    arrays, document = pack_head(head)
    with pytest.raises(ModelFileError) as error:
        unpack_head(change(arrays), document, "x.offshelf")
    assert str(error.value).startswith("x.offshelf: head ")
    assert message in str(error.value)


@pytest.mark.parametrize("reduction", ["pca", 3, None, "pca:1e3"])
def test_a_damaged_reduction_is_refused(reduction):
    features, targets, classes = made_features(3, 30, 8)
    arrays, document = pack_head(fit_head(Recipe(), features, targets, classes))
    with pytest.raises(ModelFileError, match=r"^x\.offshelf: head has .*reduction"):
        unpack_head(arrays, {**document, "reduction": reduction}, "x.offshelf")


def test_a_head_saved_before_reductions_has_none():
    features, targets, classes = made_features(3, 30, 8)
    arrays, document = pack_head(fit_head(Recipe(), features, targets, classes))
    del document["reduction"]
    assert unpack_head(arrays, document).reduction == "none"


@pytest.mark.parametrize("rows", [2, 3, 4])
@pytest.mark.parametrize("kind", ["svm", "logistic", "ridge", "lda"])
def test_c_auto_takes_fewer_rows_than_folds(kind, rows):
    """A learning curve begins with an image of each class, and nobody has named the folds."""
    features = np.eye(4, dtype=np.float32)[:rows]
    head = fit_head(Recipe(kind=kind, c="auto"), features, np.arange(rows) % 2, ["a", "b"])
    assert head.parameters["C"] > 0
