"""Feature sets: their notation, how parts are joined, and models on several layers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offshelf
from made_models import made_model, tampered
from offshelf.backbones.backbone import open_backbone
from offshelf.engine.contract import EngineOptions
from offshelf.errors import ModelFileError, OffshelfError
from offshelf.feature_sets.feature_set import FeaturePart, FeatureSet, Joining, mirrored
from offshelf.feature_sets.notation import read_features, written
from offshelf.feature_sets.opening import named_set, opened_set
from offshelf.features.feature_kind import FeatureKind
from offshelf.heads.fitting.fit_head import Recipe, Trainer, decision
from offshelf.heads.fitting.mirror_images import Images, MirrorTrainer, train, trainer_of
from offshelf.jobs.fit.job import fit
from offshelf.jobs.predict import predict
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.model_file.feature_record import FeatureRecord, PartRecord
from offshelf.model_file.model import load_model, save_model

LITE0 = "efficientnet_lite0"

# --- notation -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("penultimate", [(LITE0, None, "penultimate", None, None)]),
        (
            "penultimate+stage6/pyramid:3",
            [
                (LITE0, None, "penultimate", None, None),
                (LITE0, None, "stage6", "pyramid:3", None),
            ],
        ),
        (
            "vgg16@320:pool5/max/sqrt + pool4 + alexnet",
            [
                ("vgg16", 320, "pool5", "max", "sqrt"),
                ("vgg16", 320, "pool4", None, None),
                ("alexnet", None, "deepest", None, None),
            ],
        ),
        (
            "timm/resnet26:head.fc:in+conv1",
            [
                ("timm/resnet26", None, "head.fc:in", None, None),
                ("timm/resnet26", None, "conv1", None, None),
            ],
        ),
        ("head.fc:in/avg", [(LITE0, None, "head.fc:in", "avg", None)]),
        ("stage6/pyramid:2", [(LITE0, None, "stage6", "pyramid", None)]),
        ("resnet18@288", [("resnet18", 288, "deepest", None, None)]),
        ("stage6//sqrt", [(LITE0, None, "stage6", None, "sqrt")]),
    ],
)
def test_what_the_notation_means(text: str, parts: list[tuple[Any, ...]]) -> None:
    found = read_features(text, LITE0)
    assert [dataclasses.astuple(part) for part in found.parts] == parts
    assert not found.product


def test_a_product_has_its_sign() -> None:
    found = read_features("penultimate*stage6", LITE0)
    assert found.product
    assert [part.layer for part in found.parts] == ["penultimate", "stage6"]


WRITE = (
    "; write BACKBONE:LAYER+LAYER or A:LAYER+B:LAYER, with * for a product, and LAYER/POOLING for "
    "another pooling"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"cannot read the features '': a part is empty{WRITE}"),
        ("a++b", f"cannot read the features 'a++b': a part is empty{WRITE}"),
        ("a+b*c", f"cannot read the features 'a+b*c': it mixes + and *{WRITE}"),
        (
            "vgg16@big:pool5",
            f"cannot read the features 'vgg16@big:pool5': the size 'big' is no number of "
            f"pixels{WRITE}",
        ),
        (
            "a/avg/l2/more",
            f"cannot read the features 'a/avg/l2/more': 'a/avg/l2/more' is no "
            f"LAYER/POOLING/NORMALISATION{WRITE}",
        ),
        ("a/agv", "no pooling 'agv': flatten, avg, max, gem, pyramid. Did you mean 'avg'?"),
        ("a/avg/l3", "no part normalisation 'l3': l2, sqrt, none."),
        ("a*", f"cannot read the features 'a*': a part is empty{WRITE}"),
        ("a+a", "the features 'a+a' name a part twice"),
        ("+".join(f"l{n}" for n in range(17)), " have 17 parts: at most 16"),
    ],
)
def test_what_is_no_feature_set(text: str, message: str) -> None:
    with pytest.raises(OffshelfError) as caught:
        read_features(text, LITE0)
    assert str(caught.value).startswith(message) or str(caught.value).endswith(message)


@pytest.mark.parametrize(
    "text",
    [
        f"{LITE0}:penultimate+stage6/pyramid+vgg16@320:pool5/max/sqrt",
        f"{LITE0}:penultimate*stage5",
        f"{LITE0}:stage6/avg/sqrt",
        f"{LITE0}@288:penultimate+{LITE0}:penultimate",
    ],
)
def test_what_is_written_is_read_again(text: str) -> None:
    found = read_features(text, "none")
    assert written(found.parts, found.product) == text


@pytest.mark.parametrize(
    ("features", "layer", "weights", "message"),
    [
        (
            "penultimate",
            "stage6",
            None,
            "features 'penultimate' and layer 'stage6': features name their layers; leave one of "
            "the two out",
        ),
        (
            "vgg16+alexnet",
            "penultimate",
            "w.pth",
            "features of several networks, and one weights file, w.pth: 'offshelf weights add FILE "
            "--backbone NAME' keeps the file where it is found",
        ),
    ],
)
def test_settings_that_contradict_each_other(
    features: str, layer: str, weights: str | None, message: str
) -> None:
    with pytest.raises(OffshelfError) as caught:
        named_set(features, LITE0, layer, weights)
    assert str(caught.value) == message


def opened(text: str, **how: Any) -> FeatureSet:
    usual: dict[str, Any] = {"pooling": "avg", "flips": "none", "size": None, "seed": 0}
    return opened_set(
        read_features(text, LITE0), lambda name, size: open_backbone(name, size=size), **usual | how
    )


def test_a_layer_under_two_names_is_named_twice() -> None:
    with pytest.raises(OffshelfError, match=r"^the features name a layer twice$"):
        opened("penultimate+global_pool")


def test_titles_and_words() -> None:
    assert opened("penultimate+stage6").title == f"{LITE0} penultimate + stage6, avg"
    two = opened("penultimate+stage6/pyramid")
    assert two.title == f"{LITE0} penultimate (avg) + stage6 (pyramid)"
    assert two.describe() == {
        "features": f"{LITE0}:penultimate+stage6/pyramid",
        "layer": "penultimate + stage6",
        "pooling": "avg + pyramid",
        "flips": "none",
    }
    larger = opened("penultimate", size=256, flips="both")
    assert (larger.title, larger.changed) == (
        f"{LITE0}@256:penultimate",
        "; mirror images: both",
    )


@pytest.mark.parametrize("size", [31, 1025, 0, True])
def test_sizes_out_of_range(size: int) -> None:
    with pytest.raises(OffshelfError) as caught:
        open_backbone(LITE0, size=size)
    assert str(caught.value) == (f"no input size {size!r}: a whole number of pixels, 32 to 1024")


# --- joining ------------------------------------------------------------------


def test_a_row_is_joined_with_the_same_bits_alone_and_in_a_batch() -> None:
    draw = np.random.default_rng(0)
    parts = [draw.normal(size=(50, d)).astype(np.float32) for d in (1280, 320)]
    for product in (False, True):
        for own in ("l2", "sqrt", "none"):
            joining = Joining((own, own), product, seed=3)
            together = joining.join(parts)
            assert together.shape[1] == joining.dimension([1280, 320])
            for row in (0, 17, 49):
                alone = joining.join([part[row : row + 1] for part in parts])
                assert np.array_equal(alone[0], together[row])


# --- mirror images ------------------------------------------------------------


@pytest.fixture
def images() -> tuple[Images, np.ndarray, list[str]]:
    draw = np.random.default_rng(0)
    targets = np.arange(60) % 3
    rows = draw.normal(size=(60, 8)).astype(np.float32) + np.eye(3, 8, dtype=np.float32)[targets]
    mirrors = rows + draw.normal(size=rows.shape).astype(np.float32) / 4
    return Images(rows, mirrors), targets, ["a", "b", "c"]


def test_training_on_mirror_images_is_training_on_twice_the_rows(images: Any) -> None:
    found, targets, classes = images
    both = dataclasses.replace(found, trained=True)
    head = train(Recipe(), both, targets, classes)
    rows = np.concatenate([found.rows, found.mirrors])
    again = train(Recipe(), Images(rows), np.tile(targets, 2), classes)
    assert np.array_equal(head.arrays["weight"], again.arrays["weight"])


def test_prediction_averages_the_scores_of_both(images: Any) -> None:
    found, targets, classes = images
    averaged = dataclasses.replace(found, averaged=True)
    head = train(Recipe(), averaged, targets, classes)
    expected = (decision(head, found.rows) + decision(head, found.mirrors)) / 2
    assert np.array_equal(averaged.decide(head), expected)
    plain = train(Recipe(), Images(found.rows), targets, classes)
    assert np.array_equal(head.arrays["weight"], plain.arrays["weight"])


def test_an_image_and_its_mirror_image_are_held_out_together(images: Any) -> None:
    """Mirror images that are copies would else make every row known."""
    found, targets, classes = images
    shuffled = np.random.default_rng(1).permutation(targets)
    copies = Images(found.rows, found.rows, trained=True, averaged=True)
    trainer = trainer_of(Recipe(kind="knn:1"), copies, shuffled, classes)
    assert isinstance(trainer, MirrorTrainer)
    fold = np.arange(60) % 5
    right = trainer.held_out(fold).argmax(axis=1) == shuffled
    assert right.mean() < 0.7


def test_held_out_scores_without_mirror_images_are_those_of_the_trainer(images: Any) -> None:
    found, targets, classes = images
    fold = np.arange(60) // 3 % 5
    one = Trainer(Recipe(), found.rows, targets, classes).held_out(fold)
    other = MirrorTrainer(Recipe(), Images(found.rows), targets, classes).held_out(fold)
    assert np.abs(one - other).max() <= 1e-4
    assert isinstance(trainer_of(Recipe(), found, targets, classes), Trainer)


# --- models -------------------------------------------------------------------

SETS = {
    "layers": {"features": "penultimate+stage6/pyramid"},
    "networks": {"features": f"{LITE0}:penultimate+efficientnet_lite1:stage5"},
    "product": {"features": "penultimate*stage5"},
    "flips": {"flips": "both"},
    "size": {"features": f"{LITE0}@128:penultimate+{LITE0}:stage3", "flips": "prediction"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_a_model_on_a_feature_set_answers_the_same_from_its_file(
    scenes: Path, tmp_path: Path, name: str
) -> None:
    """Alone and in a batch, from a file and in memory, and with the other engine."""
    features, out = FeatureSettings(**SETS[name]), tmp_path / "m.offshelf"
    made = fit(scenes, out, features=features)
    paths = [path for path, split in zip(made.table.paths, made.table.splits, strict=True)]
    tested = [path for path, row in zip(paths, made.table.splits, strict=True) if row == "test"]
    together = predict(out, tested).predictions
    right = [row.label == Path(row.path).parent.name for row in together]
    assert np.mean(right) == made.evaluation.accuracy
    for row in (together[0], together[-1]):
        (alone,) = predict(out, [row.path]).predictions
        assert alone == row
    loaded = load_model(out)
    assert str(loaded.features) == str(made.features)
    assert save_model(loaded, tmp_path / "again.offshelf").read_bytes() == out.read_bytes()
    scores = offshelf.load_model(out).decision_function(tested[:3])
    assert np.array_equal(
        scores[0], np.array([together[0].scores[c] for c in loaded.classes], np.float32)
    )
    torch = RunSettings(engine=EngineOptions(engine="torch", device="cpu"))
    other = predict(out, tested[:4], run=torch).predictions
    for one, two in zip(together[:4], other, strict=True):
        found = [one.scores[c] - two.scores[c] for c in loaded.classes]
        assert np.abs(found).max() <= 1e-3


@pytest.mark.slow
def test_an_estimator_on_a_feature_set(scenes: Path, tmp_path: Path) -> None:
    made = fit(scenes, features=FeatureSettings(features="penultimate+stage5", flips="both"))
    train_rows = [row for row, split in enumerate(made.table.splits) if split == "train"]
    paths = [made.table.paths[row] for row in train_rows]
    labels = [made.table.labels[row] for row in train_rows]
    found = offshelf.TransferClassifier(features="penultimate+stage5", flips="both")
    found.fit(paths, labels)
    weight = made.model.head.arrays["weight"]
    assert np.abs(found.head_.arrays["weight"] - weight).max() <= 1e-4 * np.abs(weight).max()
    out = found.save(tmp_path / "m.offshelf")
    given = offshelf.load_model(out).decision_function(paths[:3])
    assert np.array_equal(found.decision_function(paths[:3]), given)
    names = found.extractor_.get_feature_names_out().tolist()
    assert len(names) == found.extractor_.n_features_out_ == 1280 + 112
    assert (names[0], names[-1]) == ("penultimate_avg_0", "stage5_avg_111")


@pytest.mark.slow
def test_int8_with_mirror_images_uses_one_network(scenes: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "m.offshelf", RunSettings(engine=EngineOptions(precision="int8"))
    made = fit(scenes, out, features=FeatureSettings(flips="both"), run=settings)
    tested = [p for p, s in zip(made.table.paths, made.table.splits, strict=True) if s == "test"]
    found = predict(out, tested).predictions
    right = [row.label == Path(row.path).parent.name for row in found]
    assert np.mean(right) == made.evaluation.accuracy


@pytest.mark.slow
def test_c_is_chosen_with_an_image_and_its_mirror_image_in_one_fold(scenes: Path) -> None:
    made = fit(scenes, features=FeatureSettings(flips="training"), head=HeadSettings(c="auto"))
    folds = made.model.head.parameters["fold_accuracies"]
    assert len(folds[0]) == 5


# --- files that somebody made up -----------------------------------------------


def two_parts(tmp_path: Path) -> Path:
    model = made_model(samples=0)
    kind = dataclasses.replace(model.kind, pooling="max")
    network = model.backbone
    features = FeatureRecord(
        networks=(network, dataclasses.replace(network, input=mirrored_input(network))),
        parts=(PartRecord(0, model.kind, "l2"), PartRecord(1, kind, "l2")),
        flips="both",
    )
    return save_model(dataclasses.replace(model, features=features), tmp_path / "m.offshelf")


def mirrored_input(network: Any) -> Any:
    return dataclasses.replace(network.input, size=16)


def test_a_file_of_several_parts_says_so(tmp_path: Path) -> None:
    path = two_parts(tmp_path)
    found = load_model(path)
    assert [one.input.size for one in found.features.networks] == [8, 16]
    assert found.features.flips == "both"
    text = str(offshelf.show(path))
    assert "needs " in text
    assert "; mirror images: both" in text
    plain = save_model(made_model(), tmp_path / "plain.offshelf")
    assert offshelf.show(plain).to_json()["schema"] == 1


BROKEN: dict[str, Any] = {
    "a network without a part": lambda d: d["features"]["parts"].pop(),
    "a part of no network": lambda d: d["features"]["parts"][0].update(network=7),
    "a part of a negative network": lambda d: d["features"]["parts"][0].update(network=-1),
    "a part of true": lambda d: d["features"]["parts"][0].update(network=True),
    "no parts": lambda d: d["features"].update(parts=[]),
    "seventeen parts": lambda d: d["features"].update(parts=d["features"]["parts"] * 9),
    "a part twice": lambda d: d["features"]["parts"].append(d["features"]["parts"][0]),
    "unknown flips": lambda d: d["features"].update(flips="maybe"),
    "flips that are a list": lambda d: d["features"].update(flips=["both"]),
    "a product that is none": lambda d: d["features"].update(product="no"),
    "a seed that is none": lambda d: d["features"].update(seed=-1),
    "an unknown normalisation": lambda d: d["features"]["parts"][0].update(normalisation="l3"),
    "an unknown pooling": lambda d: d["features"]["parts"][0].update(pooling="pyramid:99"),
    "a part with more": lambda d: d["features"]["parts"][0].update(more=1),
    "another dimension": lambda d: d["features"].update(dimension=6),
    "no dimension": lambda d: d["features"].update(dimension="5"),
    "networks that are no list": lambda d: d.update(networks={}),
    "parts that are no objects": lambda d: d["features"].update(parts=[1, 2]),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_made_up_parts_are_refused_in_one_line(tmp_path: Path, change: Any) -> None:
    path = tampered(two_parts(tmp_path), change)
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text


def test_mirror_images_are_another_network_of_the_store() -> None:
    backbone = open_backbone(LITE0)
    kind = FeatureKind("penultimate", "global_pool", "avg")
    features = FeatureSet((FeaturePart(backbone, kind),), flips="prediction")
    assert [part.backbone.input.mirrored for part in features.mirrored_parts] == [True]
    assert mirrored(backbone).identity() != backbone.identity()
