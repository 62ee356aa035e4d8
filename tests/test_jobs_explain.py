"""Where a decision comes from: exact maps add up, and everything else is Grad-CAM."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.cli.main import main
from offshelf.engine.contract import EngineOptions
from offshelf.engine.torch_engine.gradients import Probe
from offshelf.errors import DataError, ModelFileError, OffshelfError
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.network_input import NetworkInput
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.jobs.explain import Explainer, explain, explain_images, true_class
from offshelf.jobs.fit.job import fit
from offshelf.jobs.predict import predict
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.visualise import exact_maps
from offshelf.jobs.visualise.explanation import Explanation, Explanations
from offshelf.jobs.visualise.picture_files import input_to_show
from offshelf.model_file.feature_record import FeatureRecord
from offshelf.model_file.model import Model
from offshelf.opened_model import open_model

pytestmark = pytest.mark.slow

# layer, pooling, normalisation -> method and whose cells
EXACT = [
    ("penultimate", "avg", "l2", "head_conv", 7),
    ("penultimate", "avg", "none", "head_conv", 7),
    ("penultimate", "flatten", "l2", "head_conv", 7),
    ("stage7", "avg", "l2", "stage7", 7),
    ("stage7", "flatten", "l2", "stage7", 7),
    ("stage7", "max", "l2", "stage7", 7),
    ("stage7", "pyramid", "l2", "stage7", 7),
    ("stage5", "pyramid:3", "none", "stage5", 14),
]
GRADIENT = [
    ("stage7", "gem", "stage7", 7),
    ("logits", "avg", "head_conv", 7),
    ("stage3", "gem", "stage3", 28),
]


LIMITS = RunSettings().reading.limits


@pytest.fixture(scope="module")
def image(scenes: Path) -> Path:
    return sorted((scenes / "test" / "stripes").glob("*.png"))[0]


@pytest.fixture(scope="module")
def opened(model: Path) -> tuple[Model, Backbone]:
    loaded, features = open_model(model)
    return loaded, features.backbone


def with_features(
    model: Model, backbone: Backbone, layer: str, pooling: str, normalisation: str = "l2"
) -> Model:
    """The model with other features and a head of random weights that fits them."""
    path = backbone.path_of(layer)
    shape = backbone.require(path).shape
    kind = FeatureKind(layer, path, pooling)
    size = kind.dimension(shape)
    draw = np.random.default_rng(0)
    count = len(model.classes)
    arrays = {
        "weight": draw.normal(size=(count, size)).astype(np.float32),
        "bias": draw.normal(size=count).astype(np.float32),
    }
    head = FittedHead("svm", model.classes, arrays, {}, normalisation)  # type: ignore[arg-type]
    features = FeatureRecord.of_layer(model.backbone, kind)
    return dataclasses.replace(model, features=features, head=head, certainty=Certainty())


def explain_prepared(
    model: Model,
    backbone: Backbone,
    network_input: NetworkInput,
    label: str | None = None,
    method: str = "auto",
    run: RunSettings | None = None,
) -> Explanation:
    """Explain an open model's decision on a prepared image; see :func:`explain`."""
    with contextlib.closing(Explainer(model, backbone, run or RunSettings())) as explainer:
        return explainer.explain(network_input, label, method)


def explained(model: Model, backbone: Backbone, image: Path, method: str = "auto") -> Explanation:
    return explain_prepared(
        model, backbone, input_to_show(image, backbone.input, LIMITS), method=method
    )


@pytest.mark.parametrize(("layer", "pooling", "normalisation", "cells_of", "side"), EXACT)
def test_cells_and_bias_add_up_to_the_score(
    opened: tuple[Model, Backbone],
    image: Path,
    layer: str,
    pooling: str,
    normalisation: str,
    cells_of: str,
    side: int,
) -> None:
    model, backbone = opened
    found = explained(
        with_features(model, backbone, layer, pooling, normalisation), backbone, image
    )
    assert (found.method, found.layer) == ("exact", cells_of)
    for one in (*found.shown, found.difference):
        scale = max(1.0, abs(one.score))
        assert one.cells.shape == (side, side)
        assert abs(one.cells.sum() + one.bias - one.score) <= 1e-4 * scale
    assert (found.length == 1.0) == (normalisation == "none")


@pytest.mark.parametrize(("layer", "pooling", "cells_of", "side"), GRADIENT)
def test_everything_else_is_grad_cam(
    opened: tuple[Model, Backbone], image: Path, layer: str, pooling: str, cells_of: str, side: int
) -> None:
    model = with_features(*opened, layer, pooling)
    found = explained(model, opened[1], image)
    assert (found.method, found.layer) == ("gradcam", cells_of)
    assert found.shown[0].cells.shape == (side, side)
    assert found.shown[0].cells.any()
    with pytest.raises(OffshelfError) as error:
        explained(model, opened[1], image, "exact")
    assert str(error.value) == (
        f"no exact map: {pooling} features of {layer} are no sum over the cells of a map; "
        "use the method gradcam"
    )


def test_scores_are_those_of_predict(model: Path, image: Path) -> None:
    found = explain(model, image)
    expected = predict(model, [image]).predictions[0]
    assert found.label == expected.label
    assert list(found.scores) == list(expected.scores)
    assert list(found.scores.values()) == pytest.approx(list(expected.scores.values()), abs=1e-4)
    assert found.shown[1].name == list(expected.scores)[1]


def test_a_cell_that_is_wiped_out_takes_its_share_with_it(
    opened: tuple[Model, Backbone], image: Path
) -> None:
    """Unnormalised, a cell's number is what the score loses without that cell."""
    model, backbone = opened
    plain = dataclasses.replace(model.head, normalisation="none")
    found = explained(dataclasses.replace(model, head=plain), backbone, image)
    pixels = input_to_show(image, backbone.input, LIMITS).pixels
    activation = Probe(backbone, model.kind.tap, ["bn2"], pixels).activations["bn2"].astype(float)
    without = activation.copy()
    without[:, 2, 3] = 0
    weight = plain.arrays["weight"][model.classes.index(found.label)].astype(float)
    loss = weight @ (activation - without).mean(axis=(1, 2))
    assert found.shown[0].cells[2, 3] == pytest.approx(loss, abs=1e-4)


def test_another_class_can_be_explained(opened: tuple[Model, Backbone], image: Path) -> None:
    model, backbone = opened
    seen = input_to_show(image, backbone.input, LIMITS)
    best = explain_prepared(model, backbone, seen)
    second = list(best.scores)[1]
    found = explain_prepared(model, backbone, seen, second)
    assert (found.label, found.shown[0].name) == (second, second)
    assert found.shown[1].name == best.label
    assert np.allclose(found.difference.cells, -best.difference.cells)


def test_grad_cam_can_be_asked_for(opened: tuple[Model, Backbone], image: Path) -> None:
    found = explained(*opened, image, "gradcam")
    assert found.method == "gradcam"
    assert "does not add up" in str(found)
    assert found.to_json()["adds_up"] is False


def test_the_result_prints_itself_and_is_json(opened: tuple[Model, Backbone], image: Path) -> None:
    found = explained(*opened, image)
    lines = str(found).splitlines()
    assert lines[0].startswith(f"{image}: {found.label} ")
    assert lines[1].startswith(
        "exact: score = sum of the cells of head_conv, 7 x 7 cells + bias; "
        "every cell is divided by the features' length "
    )
    assert lines[2].startswith(f"{found.label}: score +")
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    cells = np.array(document["class"]["cells"])
    total = cells.sum() + document["class"]["bias"]
    assert total == pytest.approx(document["class"]["score"], abs=1e-4)
    assert np.array(document["difference"]["cells"]).shape == (7, 7)
    assert document["adds_up"] is True


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_the_picture_is_written(
    opened: tuple[Model, Backbone], image: Path, tmp_path: Path, name: str
) -> None:
    found = explained(*opened, image)
    assert found.write(tmp_path / name, smooth=True).stat().st_size > 10_000
    assert found.write(tmp_path).name == f"{image.stem}-explain.png"
    assert found._repr_png_()[1:4] == b"PNG"


def test_two_classes_are_mirrored(opened: tuple[Model, Backbone], image: Path) -> None:
    model, backbone = opened
    weight, bias = model.head.arrays["weight"][0], model.head.arrays["bias"][0]
    arrays = {"weight": np.stack([-weight, weight]), "bias": np.stack([-bias, bias])}
    head = FittedHead("svm", ("no", "yes"), arrays, {}, "l2")
    found = explained(dataclasses.replace(model, head=head), backbone, image)
    assert np.allclose(found.shown[0].cells, -found.shown[1].cells)
    assert found.shown[0].residual == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("layer", "pooling", "method"),
    [
        ("norm", "avg", "exact"),
        ("norm", "flatten", "exact"),
        ("norm", "pyramid", "exact"),
        ("head:in", "avg", "gradcam"),
    ],
)
def test_transformers_are_explained(
    opened: tuple[Model, Backbone], image: Path, layer: str, pooling: str, method: str
) -> None:
    backbone = open_backbone("timm/vit_tiny_patch16_224", weights="random")
    found = explained(with_features(opened[0], backbone, layer, pooling), backbone, image)
    assert found.method == method
    assert found.shown[0].cells.shape == (14, 14)
    assert found.shown[0].cells.any()
    if method == "exact":
        assert found.shown[0].elsewhere != 0
        assert abs(found.shown[0].residual) <= 1e-4 * max(1.0, abs(found.shown[0].score))
        assert "class token" in str(found)


def test_a_head_that_is_not_linear_is_one_line(opened: tuple[Model, Backbone], image: Path) -> None:
    model, backbone = opened
    other = dataclasses.replace(model.head, kind="knn", arrays={"rows": np.ones((3, 4))})
    seen = input_to_show(image, backbone.input, LIMITS)
    with pytest.raises(OffshelfError) as error:
        explain_prepared(dataclasses.replace(model, head=other), backbone, seen)
    assert str(error.value) == "the head knn is not linear: it cannot be explained"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            {"label": "strips"},
            OffshelfError,
            "the model has no class 'strips': checks, noise, stripes. Did you mean 'stripes'?",
        ),
        (
            {"method": "gradcm"},
            OffshelfError,
            "no method 'gradcm': auto, exact, gradcam. Did you mean 'gradcam'?",
        ),
    ],
)
def test_wrong_words_are_one_line(
    model: Path, image: Path, change: dict[str, str], error: type, text: str
) -> None:
    with pytest.raises(error) as caught:
        explain(model, image, **change)
    assert str(caught.value) == text


def test_bad_files_are_one_line(model: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"^not_an_image: .*notes\.jpg: "):
        explain(model, tmp_path / "notes.jpg")
    with pytest.raises(DataError, match="image: 1 x 1 pixels: too small to see anything"):
        explain(model, np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(ModelFileError, match="no such model file"):
        explain(tmp_path / "none.offshelf", image)


@pytest.mark.real
@pytest.mark.parametrize(
    ("pooling", "method"),
    [("avg", "exact"), ("flatten", "exact"), ("max", "exact"), ("gem", "gradcam")],
)
def test_explanations_of_vgg16(
    shared: Path, opened: tuple[Model, Backbone], pooling: str, method: str
) -> None:
    weights = str(shared / "weights" / "vgg16_features.safetensors")
    backbone = open_backbone("vgg16", weights=weights)
    model = with_features(opened[0], backbone, "pool5", pooling)
    found = explained(model, backbone, shared / "images" / "cat.jpg")
    assert (found.layer, found.method) == ("pool5", method)
    if found.exact:
        scale = max(1.0, *(abs(one.score) for one in found.shown))
        assert max(abs(one.residual) for one in found.shown) <= 1e-4 * scale


@pytest.mark.real
def test_cells_of_a_scene_add_up(shared: Path, tmp_path: Path) -> None:
    """The shown-by line, on real images of three classes of 15-Scene."""
    scenes = shared / "data" / "15-scene"
    rows = ["path,label,split"]
    for split, name in itertools.product(("train", "test"), ("coast", "forest", "street")):
        for path in sorted((scenes / split / name).glob("*"))[:8]:
            rows.append(f"{path},{name},{split}")
    (tmp_path / "few.csv").write_text("\n".join(rows))
    fit(tmp_path / "few.csv", tmp_path / "few.offshelf")
    for row in rows[-3:]:
        found = explain(tmp_path / "few.offshelf", row.split(",")[0])
        assert found.exact
        for one in (*found.shown, found.difference):
            assert one.cells.sum() + one.bias == pytest.approx(one.score, abs=1e-4)


def test_the_folder_or_a_label_says_what_is_wrong(model: Path, image: Path, tmp_path: Path) -> None:
    found = explain(model, image)
    assert (found.true, found.wrong) == ("stripes", False)
    assert f"{image}: stripes {100 * (found.probability or 0):.2f} %, right" in str(found)
    wrong = explain(model, image, true="noise")
    assert wrong.wrong
    assert wrong.verdict.endswith(" %, wrong: it is noise")
    document = wrong.to_json()
    assert (document["true"], document["predicted"]) == ("noise", "stripes")
    assert document["probability"] == pytest.approx(
        predict(model, [image]).predictions[0].probabilities["stripes"], abs=1e-3
    )
    copy = tmp_path / "photo.png"
    copy.write_bytes(image.read_bytes())
    assert explain(model, copy).true == ""
    assert explain(model, copy).to_json()["true"] is None
    with pytest.raises(OffshelfError, match=r"^the model has no class 'nose': .*'noise'\?$"):
        explain(model, image, true="nose")


@pytest.mark.parametrize(
    ("folder", "classes", "true"),
    [
        ("Living Room", ("livingroom", "x"), "livingroom"),
        ("f", ("F", "f"), "f"),
        ("F", ("F", "f"), "F"),
        ("other", ("F", "f"), ""),
    ],
)
def test_the_class_of_a_folder(folder: str, classes: tuple[str, ...], true: str) -> None:
    assert true_class(f"data/{folder}/1.jpg", classes) == true


def test_several_images_in_one_go(scenes: Path, model: Path, tmp_path: Path) -> None:
    """Each as if alone; what cannot be used is a row; no picture takes the place of another."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    images = [scenes / "test" / name / "0.png" for name in ("checks", "noise")]
    found = explain_images(model, [*images, broken])
    assert [one.true for one in found.explanations] == ["checks", "noise"]
    alone = explain(model, images[1])
    np.testing.assert_array_equal(found.explanations[1].difference.cells, alone.difference.cells)
    (failure,) = found.failures
    assert failure["path"] == str(broken)
    assert not failure["reason"].startswith(str(broken))
    assert "\nwrong: 0 of 2\nleft out: " in str(found)
    assert [path.name for path in found.write(tmp_path)] == [
        "checks-0-explain.png",
        "noise-0-explain.png",
    ]
    named = found.write(tmp_path / "why.svg")
    assert [path.name for path in named] == ["why-checks-0.svg", "why-noise-0.svg"]


def test_a_wrong_answer_is_set_against_the_true_class(model: Path, image: Path) -> None:
    best, second, third = explain(model, image).scores
    for true, rival in ((best, second), (second, second), (third, third)):
        assert [one.name for one in explain(model, image, true=true).shown] == [best, rival]
    (found,) = explain_images(model, [image], true=third).explanations
    assert [one.name for one in found.shown] == [best, third]
    # A class that is asked for keeps the best of the others.
    asked = explain(model, image, label=second, true=third)
    assert [one.name for one in asked.shown] == [second, best]


def test_the_marks_are_those_of_predict(
    opened: tuple[Model, Backbone], image: Path, model: Path
) -> None:
    loaded, backbone = opened
    assert explain(model, image).to_json()["unlike"] is False
    certainty, (best, *_) = loaded.certainty, explain(model, image).scores
    assert certainty.unlike is not None
    nowhere = dataclasses.replace(certainty.unlike, value=-1.0)
    far = dataclasses.replace(loaded, certainty=dataclasses.replace(certainty, unlike=nowhere))
    found = explained(far, backbone, image)
    assert found.verdict.endswith(" %, unlike the training images")
    assert str(found).splitlines()[-1].startswith("unlike the training images: farther from them")
    assert (found.to_json()["unlike"], found.to_json()["unknown"]) == (True, False)
    assert "unlike the training images" in found.plot().title
    bias = loaded.head.arrays["bias"] - 100
    head = dataclasses.replace(loaded.head, arrays={**loaded.head.arrays, "bias": bias})
    unclaimed = explained(dataclasses.replace(loaded, head=head), backbone, image)
    assert unclaimed.verdict.startswith(f"({best}) ")
    assert "\n(label): no class claims the image, all scores are below zero" in str(unclaimed)
    threshold = dataclasses.replace(nowhere, false_reject=0.05)
    strange = dataclasses.replace(certainty, threshold=threshold)
    unknown = explained(dataclasses.replace(loaded, certainty=strange), backbone, image)
    assert unknown.verdict.startswith(f"unknown (nearest: {best}) ")
    assert unknown.to_json()["unknown"] is True
    rows = Explanations(explanations=(found, unknown), failures=()).data_table()
    assert [column.name for column in rows.columns][-2:] == ["unknown", "unlike"]
    assert [row[-2:] for row in rows.rows] == [("no", "yes"), ("yes", "no")]


def test_pictures_go_into_a_folder_that_is_made(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [str(image), str(image.with_name("1.png"))]
    words = ["explain", str(model), *images, "--quiet", "--out"]
    assert main([*words, str(tmp_path / "new" / "why")]) == 0
    made = sorted(path.name for path in (tmp_path / "new" / "why").iterdir())
    assert made == ["0-explain.png", "1-explain.png"]
    assert main([*words, f"{tmp_path}/v1.2/"]) == 0
    assert len(list((tmp_path / "v1.2").iterdir())) == 2
    capsys.readouterr()
    (tmp_path / "note").write_text("a file")
    for place, message in (
        ("note", "note: a picture's name ends in .png or .svg"),
        (
            "why.jpg",
            "why.jpg: a picture's name ends in .png or .svg; that of a new folder in a slash",
        ),
        ("v1.3", "v1.3: a picture's name ends in .png or .svg; that of a new folder in a slash"),
        ("note/why", f"note/why: cannot be written ({tmp_path}/note is no folder)"),
    ):
        assert main([*words, str(tmp_path / place)]) == 2
        assert capsys.readouterr().err == f"error: {tmp_path}/{message}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "note", "v1.2"]


def test_with_two_classes_one_panel_says_it_all(
    opened: tuple[Model, Backbone], image: Path
) -> None:
    model, backbone = opened
    weight, bias = model.head.arrays["weight"][0], model.head.arrays["bias"][0]
    for other in (-weight, weight * 0.5):
        arrays = {"weight": np.stack([other, weight]), "bias": np.stack([-bias, bias])}
        head = FittedHead("svm", ("no", "yes"), arrays, {}, "l2")
        two = dataclasses.replace(model, head=head, certainty=Certainty())
        found = explained(two, backbone, image)
        ((title, one),) = found.panels
        first, rival = found.shown
        assert title == f"{first.name} rather than {rival.name}"
        shown = first if other is not weight and np.allclose(other, -weight) else found.difference
        np.testing.assert_allclose(one.cells, shown.cells)
        claimed = found.scores[found.label] >= 0
        assert len(str(found).splitlines()) == (4 if claimed else 5)
        verdict = found.label if claimed else f"({found.label})"
        assert (found.probability, found.verdict) == (None, verdict)
    assert len(explained(model, backbone, image).panels) == 3


def test_a_second_explanation_needs_no_reference_and_has_the_same_bits(
    model: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunSettings(engine=EngineOptions(cache_dir=tmp_path))
    first = explain(model, image, run=run)
    places = list((tmp_path / "trained").glob("*/result.safetensors"))

    def refuse(*_: object) -> None:
        raise AssertionError("the place of the cells is known")

    with monkeypatch.context() as patched:
        patched.setattr(exact_maps, "Probe", refuse)
        patched.setattr(exact_maps, "maps_before", refuse)
        second = explain(model, image, run=run)
        several = explain_images(model, [image, image], run=run).explanations
    (place,) = places
    place.write_bytes(place.read_bytes()[:-1])
    damaged = explain(model, image, run=run)
    assert first.method == "exact"
    for found in (second, *several, damaged):
        assert found.to_json() == first.to_json()
    assert places[0].is_file()


def test_exact_maps_are_those_of_the_reference(opened: tuple[Model, Backbone], image: Path) -> None:
    seen = input_to_show(image, opened[1].input, LIMITS)
    by_engine, by_torch = (
        explain_prepared(*opened, seen, run=RunSettings(engine=EngineOptions(engine=name)))
        for name in ("openvino", "torch")
    )
    assert (by_engine.method, by_engine.layer) == (by_torch.method, by_torch.layer)
    assert list(by_engine.scores) == list(by_torch.scores)
    for one, other in zip(by_engine.shown, by_torch.shown, strict=True):
        assert np.abs(one.cells - other.cells).max() <= 1e-4 * np.abs(other.cells).max()


def test_features_from_nowhere_are_known_to_be_so(
    opened: tuple[Model, Backbone], image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunSettings(engine=EngineOptions(cache_dir=tmp_path))
    model = with_features(*opened, "stage7", "gem")
    assert exact_maps.exact_place(model, opened[1], run) is None
    monkeypatch.setattr(exact_maps, "Probe", None)
    assert exact_maps.exact_place(model, opened[1], run) is None


def test_a_second_run_loads_neither_torch_nor_matplotlib(
    model: Path, image: Path, tmp_path: Path
) -> None:
    arguments = ["explain", str(model), str(image), "--out", str(tmp_path / "a.png")]
    code = (
        f"import sys\nfrom offshelf.cli.main import main\nmain({arguments})\n"
        "print({'torch', 'timm', 'sympy', 'matplotlib', 'sklearn'} & sys.modules.keys())"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    assert done.stdout.splitlines()[-1] == "set()"
