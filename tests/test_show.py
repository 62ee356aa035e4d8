"""The card of a model file: what it states, of old and of made-up files, too."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offshelf
from command_run import Run
from made_models import made_model, members_of, tampered, with_network
from offshelf.errors import ModelFileError
from offshelf.estimator import TransferClassifier
from offshelf.heads.probabilities.distances import Reference
from offshelf.heads.probabilities.probability_model import UNMARKED
from offshelf.heads.probabilities.rejection import Threshold
from offshelf.jobs.fit.job import FitResult, fit
from offshelf.jobs.show import show
from offshelf.model_file.model import save_model
from offshelf.model_file.specs import RANDOM_SHA256


def test_the_card(
    capsys: pytest.CaptureFixture[str], model: Path, scenes: Path, fitted: FitResult
) -> None:
    run = Run(capsys, "show", model)
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith(
        f"model        {model}: 3 classes\nclassifier   svm, C = 1, on efficientnet_lite0 "
        "penultimate, avg: 1,280 features of an image\nmade         2"
    )
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    for text in (
        f"\ndata         '{scenes.name}', 30 images, 0 left out, fingerprint ",
        "\ntrained on   18 different images\naccuracy     ",
        " %) on 12 test images\nbalanced     ",
        "\nprobability  temperature scaling\nmarks        unlike the training images: beyond ",
        "held out\nneeds        efficientnet-lite0-57934424.pth, 18.8 ",
        "\nweights      here: ",
        "\ninput        224 x 224 pixels, squash, bicubic; fp32\n",
        f" kB, sha256 {digest}\n\nclass    to train  to test  precision ",
        "\nchecks          6        4 ",
        "  the classifier: bias 3, weight 3 x 1,280\n",
    ):
        assert text in run.out
    low, high = fitted.evaluation.accuracy_interval
    assert f" % (95 % interval {100 * low:.2f} to {100 * high:.2f} %) on 12 " in run.out


def test_the_card_names_marks_and_rejections(tmp_path: Path, fitted: FitResult) -> None:
    certainty = dataclasses.replace(
        fitted.model.certainty,
        threshold=Threshold("confidence", 0.51234, 0.05, 1500, 74),
        unlike=Threshold("neighbour_distance", 0.25, 0.01, 18, 0),
        references={
            "neighbour_distance": Reference("neighbour_distance", np.eye(1, 1280, dtype=np.float16))
        },
    )
    path = tmp_path / "m.offshelf"
    save_model(dataclasses.replace(fitted.model, certainty=certainty), path)
    assert (
        "\nrejects      about 5 % of known images: below 0.512 by the largest probability, as 74 "
        "of 1,500 training images held out\nmarks        unlike the training images: beyond 0.25 "
        "by the distance to the nearest training image, as 0 of 18 training images held out\n"
    ) in str(show(path))
    certainty = dataclasses.replace(
        certainty, threshold=None, unlike=None, references={}, notes=(f"{UNMARKED}: too few",)
    )
    save_model(dataclasses.replace(fitted.model, certainty=certainty), path)
    text = str(show(path))
    assert "\nmarks        no image is marked as unlike the training images: too few\n" in text
    assert "\nrejects" not in text


def test_the_card_as_json(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    document = Run(capsys, "show", model, "--json").document
    assert document["data"]["classes"]["noise"] == {"train": 6, "test": 4}
    assert (document["n_training_hashes"], document["n_samples"]) == (18, 3)
    parts = {part["name"]: (part["size"], part["sha256"]) for part in document["parts"]}
    assert parts == {
        name: (len(content), hashlib.sha256(content).hexdigest())
        for name, content in members_of(model).items()
    }
    assert document["weights"]["here"].endswith(".pth")
    card = show(model)
    assert card.data_table().rows[1][:3] == ("noise", 6, 4)
    assert len(repr(card).splitlines()) <= 10
    assert "<td>noise</td>" in card._repr_html_()


def test_the_day_can_be_given(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    monkeypatch.chdir(scenes)
    data = fit(".").model.data
    assert (data["date"], data["name"]) == ("1970-01-02", scenes.name)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 30)
    assert fit(".").model.data["date"] > "2025"


def test_a_model_of_before(tmp_path: Path) -> None:
    path = save_model(made_model(samples=0), tmp_path / "m.offshelf")
    text = str(show(path, cache_dir=tmp_path))
    for line in (
        "made         on a day that is not stated, offshelf 0",
        "data         7 images",
        "trained on   2 different images",
        "accuracy     50.00 %",
        "probability  none",
        "weights      not on this machine: 'offshelf weights add FILE --backbone "
        "efficientnet_lite0' brings it",
        "cat           -        -          -       -   -",
    ):
        assert f"\n{line}\n" in text
    bare = dataclasses.replace(made_model(samples=0), metrics={}, data={})
    text = str(show(save_model(bare, path)))
    assert "\naccuracy     not stated\n" in text
    assert "\ndata         not stated (made by an earlier offshelf)\n" in text
    spec = bare.backbone.spec
    weights = (dataclasses.replace(spec.weights[0], sha256=RANDOM_SHA256),)
    untrained = dataclasses.replace(
        bare.backbone, spec=dataclasses.replace(spec, weights=weights), trained=False
    )
    text = str(show(save_model(with_network(bare, untrained), path)))
    assert "\nneeds        no weights file: they are random\ninput " in text
    assert text.endswith("UNTRAINED network (random weights): this says nothing about your images")


STRANGE: list[dict[str, Any]] = [
    {"metrics": {"accuracy": "0.9", "n": True, "accuracy_interval": [1], "per_class": {"cat": 1}}},
    {"metrics": {"accuracy": 10**400, "per_class": [1, {"name": ["cat"]}, {"name": "cat"}]}},
    {"data": {"name": ["a"], "date": 3, "classes": ["cat"], "n_images": -(10**20)}},
    {"data": {"classes": {"cat": 3, "dog": {"train": "x", "test": 1e300}}}},
    {"data": {"name": "\x1b[2J\n\u202e" + "x" * 10_000, "date": "<script>"}},
    {"versions": {"offshelf": {}, "python": [], "torch": "\x1b]0;a\x07"}},
]


@pytest.mark.parametrize("change", STRANGE)
def test_what_a_file_states_is_only_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    path = save_model(made_model(), tmp_path / "m.offshelf")
    tampered(path, lambda document: document.update(change))
    run = Run(capsys, "show", path)
    assert (run.code, run.err) == (0, "")
    assert all(char.isprintable() or char == "\n" for char in run.out)
    assert max(map(len, run.out.splitlines())) < 600
    assert Run(capsys, "show", path, "--json").document["classes"] == ["cat", "dog", "owl"]
    assert "<script>" not in show(path)._repr_html_()


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Path) -> None:
    path = save_model(made_model(), tmp_path / "m.offshelf")
    tampered(path, lambda document: document["metrics"].update(accuracy=float("nan")))
    with pytest.raises(ModelFileError) as caught:
        show(path)
    assert str(caught.value) == f"{path}: its manifest holds values that are none"
    (tmp_path / "d.offshelf").write_bytes(model.read_bytes()[:-9])
    words = "is a file and no name of a network; 'offshelf show {0}' shows a model file, and"
    shutil.copy(model, tmp_path / "model.bin")
    for command, name, text in (
        ("show", tmp_path / "d.offshelf", "{0}: is damaged or no .offshelf model file"),
        (
            "show",
            tmp_path,
            "{0}: is a folder, not a model file; a .offshelf file comes first, then",
        ),
        (
            "show",
            "vgg16",
            "vgg16: no such model file; of a network, 'offshelf inspect vgg16' shows",
        ),
        ("show", "vgg61", "vgg61: no such model file; 'offshelf fit DATA --out vgg61' makes one"),
        ("inspect", tmp_path / "no.offshelf", f"{{0}}: {words} --weights takes one of weights"),
        ("inspect", tmp_path / "model.bin", f"{{0}}: {words} --weights takes one of weights"),
        ("layers", model, f"{{0}}: {words} --weights takes one of weights"),
    ):
        run = Run(capsys, command, name)
        assert run.code == 2
        assert run.err.startswith(f"error: {text.format(name)}")


def test_a_model_of_an_estimator_states_its_day(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    paths = [str(path) for path in sorted((scenes / "train").glob("*/*.png"))]
    labels = [Path(path).parent.name for path in paths]
    TransferClassifier().fit(paths, labels).save(tmp_path / "m.offshelf")
    text = str(show(tmp_path / "m.offshelf"))
    assert "\nmade         1970-01-01, offshelf " in text
    assert "\naccuracy     not stated\n" in text
    assert "\nchecks          6        0 " in text


def test_what_else_decided_the_model(fitted: FitResult, tmp_path: Path) -> None:
    """Groups, corrections, and why a precision was taken; only where there were any."""
    path = tmp_path / "m.offshelf"
    save_model(fitted.model, path)
    plain = str(show(path))
    for word in ("\ngroups ", "\ncorrected ", "\nprecision "):
        assert word not in plain
    data = dict(fitted.model.data) | {
        "groups": {"n": 3, "in_both_splits": 1},
        "corrections": {"relabelled": 1, "left_out": 2, "sha256": ""},
        "precision_reason": "bf16 is as exact",
    }
    save_model(dataclasses.replace(fitted.model, data=data), path)
    text = str(show(path))
    assert "\ngroups       3 groups, kept together; 1 stood in both splits\n" in text
    assert "\ncorrected    1 image relabelled, 2 left out\n" in text
    assert "\nprecision    fp32, chosen by auto: bf16 is as exact\n" in text
    made_up = dict(data) | {"groups": {"n": "x"}, "corrections": [1], "precision_reason": 3}
    save_model(dataclasses.replace(fitted.model, data=made_up), path)
    text = str(show(path))
    for word in ("\ngroups ", "\ncorrected ", "\nprecision "):
        assert word not in text


def test_auto_says_in_the_model_why_it_took_its_precision(scenes: Path) -> None:
    model = offshelf.fit(scenes, precision="auto").model
    assert model.data["precision_reason"] == "with 30 images no other pays"
