"""``offshelf classify``: names, probabilities, what two mistakes change, bad input."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.catalogue import libraries
from offshelf.backbones.catalogue.libraries import class_names
from offshelf.cli.main import main
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.torch_engine.training_mode import TrainingMode, random_crops, training_outputs
from offshelf.errors import DataError, EngineError, LayerError
from offshelf.jobs.classify import ClassifyResult, classify
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.report.network_answers import Answer, NetworkRun
from offshelf.report.tables.table_formats import render

SMALL = FeatureSettings("mobilenet_v3_small", weights="random")
TORCH = RunSettings(engine=EngineOptions(engine="torch"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of blobs, wider than high."""
    draw = np.random.default_rng(0)
    small = Image.fromarray(draw.integers(0, 256, (6, 9, 3), np.uint8))
    path = tmp_path_factory.mktemp("photos") / "blobs.png"
    small.resize((330, 220), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def answers(photo: Path) -> ClassifyResult:
    return classify([photo], no_normalize=True)


def test_the_class_names_are_torchvisions_and_known_ones():
    names = class_names()
    assert len(names) == len(set(names)) == 1000
    known = {0: "tench", 281: "tabby", 282: "tiger cat", 970: "alp", 999: "toilet tissue"}
    assert {number: names[number] for number in known} == known
    assert libraries._read_source() == libraries._ask_torchvision() == names


def test_without_the_source_file_torchvision_is_asked(monkeypatch):
    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda _: None)
    assert libraries._read_source() == ()
    assert class_names.__wrapped__()[281] == "tabby"


def test_probabilities_are_a_softmax_in_double_precision():
    for logits in np.random.default_rng(0).normal(0, 40, (5, 1000)).astype(np.float32):
        shares = NetworkRun("evaluation", logits).probabilities
        assert shares.dtype == np.float64
        assert abs(shares.sum() - 1) < 1e-12
        assert (shares > 0).all()
        assert shares.argmax() == logits.argmax()
    assert NetworkRun("x", np.float32([3e38, -3e38])).probabilities.tolist() == [1.0, 0.0]


def test_equal_logits_keep_the_order_of_the_classes():
    assert NetworkRun("x", np.float32([1, 2, 2, 0])).ranking == [1, 2, 0, 3]


@pytest.mark.slow
def test_an_answer_has_names_numbers_probabilities_and_logits(answers: ClassifyResult):
    (answer,) = answers.answers
    best = answer.best(1000)
    assert sum(guess.probability for guess in best) == pytest.approx(1, abs=1e-9)
    assert [g.probability for g in best] == sorted((g.probability for g in best), reverse=True)
    assert sorted(guess.index for guess in best) == list(range(1000))
    assert all(guess.label == class_names()[guess.index] for guess in best)
    logit = float(answer.logits["evaluation"][best[0].index])
    assert best[0].logit == logit
    assert len(answer.best()) == 5


@pytest.mark.slow
def test_the_publishers_crop_is_the_default_and_can_be_changed(answers: ClassifyResult, photo):
    assert answers.backbone.input.resize == "crop"
    squashed = dataclasses.replace(SMALL, resize="squash")
    assert classify([photo], squashed, run=TORCH).backbone.input.resize == "squash"


@pytest.mark.slow
def test_the_logits_are_those_of_the_torch_network(answers: ClassifyResult, photo: Path):
    from offshelf.backbones.specification.preprocess import prepare

    backbone = answers.backbone
    tap = Tap(backbone.path_of("logits"), "flatten")
    pixels = prepare(np.asarray(Image.open(photo)), backbone.input)[None]
    for network, view in (
        (backbone, "evaluation"),
        (backbone.without_normalisation(), "not normalised"),
    ):
        expected = TrainingMode(network, tap).run(pixels, training=False)[0]
        found = answers.answers[0].logits[view]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_without_normalisation_pixels_are_between_zero_and_one():
    spec = open_backbone("efficientnet_lite0").without_normalisation().input
    assert (spec.mean, spec.std) == ((0, 0, 0), (1, 1, 1))


@pytest.mark.slow
def test_both_answers_stand_side_by_side(answers: ClassifyResult):
    (answer,) = answers.answers
    table = answer.table(5)
    assert [column.name for column in table.columns] == ["class", "evaluation", "not normalised"]
    shown = {row[0] for row in table.rows}
    for view in answer.logits:
        assert {guess.label for guess in answer.best(5, view)} <= shown
    shares = answer.runs[1].probabilities
    for name, _, share in table.rows:
        assert share == shares[class_names().index(name)]
    (line,) = answer.changes()
    assert line.startswith("not normalised: ")
    assert "of the 5 best stay" in line


def made(*runs: tuple[str, int, list[float]]) -> Answer:
    built = []
    for way, number, values in runs:
        logits = np.zeros(1000, np.float32)
        logits[: len(values)] = values
        built.append(NetworkRun(way, logits, number))
    return Answer("a.jpg", "ok", "", tuple(built))


NORMAL = ("evaluation", 0, [30.0, 10.0])


def test_what_changed_is_said_in_figures():
    assert made(NORMAL, ("not normalised", 0, [10.0, 30.0])).changes() == (
        "not normalised: goldfish (100.00 %) instead of tench (100.00 %); 5 of the 5 best stay; "
        "100.00 % of the probability has moved",
    )
    same = [("alone", number, [30.0]) for number in (1, 2, 3)]
    assert made(NORMAL, *same).changes() == (
        "alone: still tench (100.00 %), was tench (100.00 %); 5 of the 5 best stay; "
        "0.00 % of the probability has moved; its 3 passes agree",
    )
    moving = made(NORMAL, *same[:2], ("alone", 3, [0.0, 30.0]))
    assert moving.changes()[0].endswith("its 3 passes differ by up to 100.00 %")


def test_a_digit_in_the_name_of_a_way_is_no_number():
    found = made(NORMAL, ("int8", 0, [10.0, 30.0]), ("int", 8, [30.0]))
    assert [line.partition(":")[0] for line in found.changes()] == ["int8", "int"]
    assert list(found.logits) == ["evaluation", "int8", "int 8"]


@pytest.fixture(scope="module")
def trained(photo: Path) -> ClassifyResult:
    return classify([photo], SMALL, run=TORCH, train_mode=True)


@pytest.mark.slow
def test_training_mode_moves_the_answer(trained: ClassifyResult):
    (answer,) = trained.answers
    assert list(answer.logits) == [
        "evaluation",
        *(f"alone {number}" for number in (1, 2, 3)),
        *(f"in a batch {number}" for number in (1, 2, 3)),
        "evaluation after",
    ]
    for name in ("alone", "in a batch"):
        one, two, three = (answer.logits[f"{name} {number}"] for number in (1, 2, 3))
        assert np.abs(one - two).max() > 1e-4
        assert np.abs(two - three).max() > 1e-4
    after = np.abs(answer.logits["evaluation after"] - answer.logits["evaluation"]).max()
    assert after > 1e-4
    assert len(answer.changes()) == 3
    assert trained.notes[0].startswith(
        "training mode: 34 batch normalisations use the statistics of the batch, 1 dropouts"
    )


@pytest.mark.slow
def test_training_mode_is_repeatable_under_a_seed(trained: ClassifyResult, photo: Path):
    again = classify([photo], SMALL, run=TORCH, train_mode=True)
    other = classify([photo], SMALL, train_mode=True, run=dataclasses.replace(TORCH, seed=7))
    for view, logits in trained.answers[0].logits.items():
        assert (again.answers[0].logits[view] == logits).all()
    changed = other.answers[0].logits["in a batch 1"]
    assert (changed != trained.answers[0].logits["in a batch 1"]).any()


def test_reset_brings_evaluation_mode_back():
    backbone = open_backbone("mobilenet_v3_small", weights="random")
    network = TrainingMode(backbone, Tap(backbone.path_of("logits"), "flatten"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    before = network.run(pixels, training=False)
    network.run(pixels, training=True)
    assert (network.run(pixels, training=False) != before).any()
    network.reset()
    assert (network.run(pixels, training=False) == before).all()


@pytest.mark.slow
def test_a_network_that_cannot_be_trained_on_one_image_is_told():
    backbone = open_backbone("mobilenet_v4_small", weights="random")
    tap = Tap(backbone.path_of("logits"), "flatten")
    pixels = {0: np.zeros((224, 224, 3), np.uint8)}
    outputs, notes = training_outputs(pixels, backbone, tap)
    counts = {way: len(vectors) for way, vectors in outputs[0].items()}
    assert counts == {"alone": 0, "in a batch": 3, "evaluation after": 1}
    assert notes[1] == (
        "an image alone cannot be run in training mode: batch normalisation needs more than one "
        "value of each channel"
    )


def test_an_image_is_batched_with_crops_of_the_given_ones():
    images = [np.full((16, 16, 3), value, np.uint8) for value in (10, 200)]
    crops = random_crops(images, 20, seed=1)
    assert {int(crop.mean()) for crop in crops} == {10, 200}
    assert {crop.shape for crop in crops} == {(16, 16, 3)}
    assert all((a == b).all() for a, b in zip(crops, random_crops(images, 20, seed=1), strict=True))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["classify", "--quiet", *arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture
def copies(photo: Path, tmp_path: Path) -> Path:
    """A folder of two copies of the picture."""
    folder = tmp_path / "copies"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo.read_bytes())
    return folder


def test_the_command_prints_a_line_for_each_image(photo, copies, capsys):
    lines = printed(capsys, str(photo), str(copies), "-k", "2").splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"{photo}: ")
    assert lines[2].startswith(f"{copies / 'b.png'}: ")
    assert lines[0].count(" %") == 2
    assert lines[-1] == "probabilities of ImageNet's 1,000 classes, softmax of the logits"


def test_the_command_reads_a_list_of_paths(photo, copies, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{photo}\n\n{copies}\r\n"))
    document = json.loads(printed(capsys, "-", "--json"))
    assert [image["path"] for image in document["images"]] == [
        str(path) for path in (photo, copies / "a.png", copies / "b.png")
    ]
    assert (document["n_ok"], document["classes"], document["resize"]) == (3, 1000, "crop")
    assert set(document["images"][0]["top"][0]) == {"label", "index", "probability", "logit"}


@pytest.mark.slow
def test_the_command_shows_the_experiments(photo, capsys):
    network = ["-b", "mobilenet_v3_small", "--weights", "random"]
    text = printed(
        capsys, str(photo), "--no-normalize", "--train-mode", *network, "--engine", "torch"
    )
    assert "not normalised" in text
    assert "in a batch 3" in text
    assert "34 batch normalisations" in text
    assert text.splitlines()[-1].endswith("; the network is UNTRAINED")


def test_help_says_what_the_output_is(capsys):
    with pytest.raises(SystemExit):
        main(["classify", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "a vector of 1,000 numbers, the logits, one for each class of ImageNet-1k" in text


def test_a_text_file_named_jpg_is_one_line_and_the_others_go_on(photo, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no image")
    arguments = ["classify", "--quiet", str(tmp_path / "text.jpg"), str(photo), "--strict"]
    assert main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'text.jpg'}: not_an_image, ")
    assert lines[1].startswith(f"{photo}: ")


def test_an_image_of_one_pixel_is_classified(tmp_path):
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    (answer,) = classify([tmp_path / "dot.png"]).answers
    assert len(answer.best()) == 5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["no/such.jpg"], "error: no/such.jpg: no such file or folder"),
        (
            ["{photo}", "-b", "dinov2_vits14", "--weights", "random"],
            "error: dinov2_vits14: its output of 384 values is no classifier of ImageNet's 1,000 "
            "classes; choose another --backbone",
        ),
        (
            ["{photo}", "--precision", "int8"],
            "error: precision int8 is calibrated on training images, of which classify has none: "
            "use fp32",
        ),
        (["-"], "error: standard input: holds no paths; give one image or folder per line"),
    ],
)
def test_bad_input_is_one_line(arguments, line, photo, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    words = [word.format(photo=photo) for word in arguments]
    assert main(["classify", "--quiet", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(line)
    assert len(captured.err.splitlines()) == 1


def test_training_mode_is_for_a_few_images(photo, tmp_path):
    for number in range(17):
        (tmp_path / f"{number}.png").write_bytes(photo.read_bytes())
    with pytest.raises(DataError) as caught:
        classify([tmp_path], SMALL, train_mode=True)
    assert str(caught.value) == ("17 images: training mode is shown for at most 16; name fewer")


def test_precisions_that_need_training_images_are_refused(photo):
    with pytest.raises(EngineError, match="precision auto is calibrated on training images"):
        classify([photo], run=RunSettings(engine=EngineOptions(precision="auto")))


@pytest.mark.real
def test_weights_without_a_classifier_say_so(shared: Path, photo: Path):
    weights = shared / "weights" / "vgg16_features.safetensors"
    with pytest.raises(LayerError) as caught:
        classify([photo], FeatureSettings("vgg16", weights=str(weights)))
    assert str(caught.value) == (
        "vgg16: fc8 needs tensors that vgg16_features.safetensors does not hold: it covers the "
        "layers up to pool5; bring the full weights, vgg16-397923af.pth, with "
        "'offshelf weights add FILE --backbone vgg16'"
    )


@pytest.mark.real
def test_the_default_network_names_a_cat_and_a_mountain(shared: Path):
    images = shared / "images"
    cat, everest = classify([images / "cat.jpg", images / "everest.jpg"]).answers
    assert {guess.label for guess in cat.best()} & {"tabby", "tiger cat", "Egyptian cat"}
    assert {guess.label for guess in everest.best()} & {"alp", "valley", "cliff", "volcano"}
    assert everest.best()[0].label == "alp"
    assert cat.best()[0].label == "tiger cat"


@pytest.mark.slow
def test_the_table_of_an_odd_name_stays_on_its_lines(photo, tmp_path):
    odd = tmp_path / "odd\nname.png"
    odd.write_bytes(photo.read_bytes())
    (answer,) = classify([odd], no_normalize=True).answers
    assert len(render(answer.table(1)).splitlines()) <= 5
