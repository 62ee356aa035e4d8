"""A model with a rule, from the fit to its answers: labels by cost or by thresholds."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import offshelf
from command_run import Run
from made_models import made_model, members_of, tampered
from offshelf.errors import ModelFileError, OffshelfError
from offshelf.heads.probabilities.decision_rule import ClassThresholds, MistakeCosts
from offshelf.heads.probabilities.decision_settings import DecisionSettings
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.heads.probabilities.score_calibration import Temperature
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit
from offshelf.model_file.model import load_model, save_model

# Whatever may be noise is called noise: to miss it costs a million.
COSTS = "true,decided,cost\nnoise,checks,1e6\nnoise,stripes,1e6\n"
SENTENCE = "the least expected cost of mistakes, 1 to 1e+06 each"


@pytest.fixture(scope="module")
def by_cost(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    folder = tmp_path_factory.mktemp("by-cost")
    (folder / "costs.csv").write_text(COSTS)
    return fit(scenes, folder / "m.offshelf", decision=DecisionSettings(folder / "costs.csv"))


@pytest.fixture(scope="module")
def cautious(by_cost: FitResult) -> Path:
    assert by_cost.path is not None
    return by_cost.path


@pytest.fixture(scope="module")
def images(scenes: Path) -> list[Path]:
    return sorted((scenes / "test").rglob("*.png"))


def test_costs_change_decisions_and_nothing_that_is_learned(
    by_cost: FitResult, fitted: FitResult
) -> None:
    one, two = by_cost.model, fitted.model
    assert two.rule is None
    assert isinstance(one.rule, MistakeCosts)
    assert one.rule.costs == ((0, 1, 1), (1e6, 0, 1e6), (1, 1, 0))
    assert one.certainty.calibration == two.certainty.calibration
    for name, array in two.head.arrays.items():
        np.testing.assert_array_equal(one.head.arrays[name], array)
    assert by_cost.trust.reliability == fitted.trust.reliability
    marked = [one.trust.unlike for one in (by_cost, fitted)]
    assert all(marked)
    assert len({one.share for one in marked if one}) == 1


def test_both_decisions_are_in_the_result(by_cost: FitResult, fitted: FitResult) -> None:
    found = by_cost.decisions
    assert found is not None
    assert found.most_probable.accuracy == fitted.evaluation.accuracy == 1.0
    # All 12 test images are called noise; the 8 of other classes cost 1 each.
    assert (found.changed, found.decided.accuracy) == (8, 1 / 3)
    assert by_cost.evaluation.to_json() == found.decided.to_json()
    assert found.cost is not None
    assert (found.cost.most_probable, found.cost.decided) == (0.0, 8 / 12)
    assert [row.predicted for row in by_cost.mistakes] == ["noise"] * 8
    assert fitted.decisions is None


def test_the_result_shows_both_decisions(by_cost: FitResult, fitted: FitResult) -> None:
    text, page, document = str(by_cost), by_cost._repr_html_(), by_cost.to_json()
    for line in ("Two decisions", f"decides     {SENTENCE}\n", "least expected cost   33.33 %"):
        assert line in text
    assert "Two decisions" in page
    assert SENTENCE in page
    assert document["decision"]["mean_cost"]["decided"] == 8 / 12
    assert document["decision"]["rule"]["costs"][1] == [1e6, 0.0, 1e6]
    assert document["accuracy"] == document["decision"]["decided"]["accuracy"] == 1 / 3
    assert "Two decisions" not in str(fitted)
    assert fitted.to_json()["decision"] is None


def test_a_saved_rule_decides_the_same_alone_and_in_a_batch(
    cautious: Path, images: list[Path], by_cost: FitResult
) -> None:
    together = offshelf.predict(cautious, images).predictions
    assert {row.label for row in together} == {"noise"}
    assert [row.most_probable for row in together] == [path.parent.name for path in images]
    for path, row in list(zip(images, together, strict=True))[::5]:
        (alone,) = offshelf.predict(cautious, path).predictions
        assert alone == row
    classifier = offshelf.load_model(cautious)
    assert classifier.predict(images).tolist() == [row.label for row in together]
    assert classifier.predict(images[:1]).tolist() == ["noise"]
    assert classifier.score(images, [path.parent.name for path in images]) == 1 / 3
    assert classifier.rule == by_cost.model.rule


def test_evaluate_says_what_the_fit_said(
    cautious: Path, scenes: Path, by_cost: FitResult, fitted: FitResult
) -> None:
    measured = offshelf.evaluate(cautious, scenes)
    assert measured.decisions is not None
    assert by_cost.decisions is not None
    assert measured.decisions.to_json() == by_cost.decisions.to_json()
    assert measured.to_json()["decision"] == by_cost.to_json()["decision"]
    assert "Two decisions" in str(measured)
    assert measured.evaluation.to_json() == by_cost.evaluation.to_json()
    assert fitted.path is not None
    plain = offshelf.evaluate(fitted.path, scenes)
    assert plain.decisions is None
    assert plain.to_json()["decision"] is None


def test_predict_keeps_the_most_probable_class(
    cautious: Path, model: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenes / "test" / "checks"
    rows = list(csv.DictReader(io.StringIO(Run(capsys, "predict", cautious, folder, "--csv").out)))
    assert {(row["label"], row["most_probable"], row["runner_up"]) for row in rows} == {
        ("noise", "checks", "checks")
    }
    assert all(float(row["probability"]) < float(row["runner_up_probability"]) for row in rows)
    document = Run(capsys, "predict", cautious, folder, "--json").document
    assert document["decision"]["kind"] == "costs"
    assert {one["most_probable"] for one in document["predictions"]} == {"checks"}
    text = Run(capsys, "predict", cautious, folder, "--top", 2).out
    assert f"\nlabel: {SENTENCE}\n" in text
    assert all("  noise  " in line for line in text.splitlines()[2:6])
    assert all(line.rstrip().endswith("%") and ", " not in line for line in text.splitlines()[2:6])
    plain = Run(capsys, "predict", model, folder, "--csv").out
    assert "most_probable" not in plain.splitlines()[0]
    document = Run(capsys, "predict", model, folder, "--json").document
    assert document["decision"] is None
    assert {one["most_probable"] for one in document["predictions"]} == {None}


def test_columns_and_folders_follow_the_rule(
    cautious: Path, model: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, into = tmp_path / "a.csv", tmp_path / "sorted"
    words = ("--out", out, "--columns", "label,most_probable", "--sort-into", into)
    assert Run(capsys, "predict", cautious, scenes / "test" / "stripes", *words).code == 0
    assert out.read_text() == "label,most_probable\n" + 4 * "noise,stripes\n"
    assert [path.name for path in into.iterdir()] == ["noise"]
    run = Run(capsys, "predict", model, scenes, "--csv", "--columns", "most_probable")
    assert run.code == 2
    assert "error: no column 'most_probable'; this model's are path, status" in run.err


def test_show_names_the_rule(
    cautious: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(capsys, "show", cautious)
    assert f"\ndecides      {SENTENCE}\n" in run.out
    assert "\nmean cost    0.6667 of an image, 0 by the most probable class\n" in run.out
    document = Run(capsys, "show", cautious, "--json").document
    assert document["decision"] == {
        "kind": "costs",
        "costs": [[0, 1, 1], [1e6, 0, 1e6], [1, 1, 0]],
    }
    assert document["metrics"]["decision"]["changed"] == 8
    plain = Run(capsys, "show", model)
    assert "decides" not in plain.out
    assert Run(capsys, "show", model, "--json").document["decision"] is None
    assert "mean cost" in repr(offshelf.load_model(cautious))


@pytest.mark.slow
def test_explain_speaks_of_the_decision(cautious: Path, scenes: Path) -> None:
    path = scenes / "test" / "checks" / "0.png"
    found = offshelf.explain(cautious, path)
    assert (found.predicted, found.label, found.wrong) == ("noise", "noise", True)
    assert [one.name for one in found.shown] == ["noise", "checks"]
    assert found.probability == found.answer.probabilities["noise"]
    assert found.verdict.startswith("noise ")
    assert found.verdict.endswith("wrong: it is checks")


def test_thresholds_from_the_command_line(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.offshelf"
    words = ("--thresholds", "Noise=0.001,checks=0.999999", "--out", out, "--quiet")
    run = Run(capsys, "fit", scenes, *words)
    assert run.code == 0
    decides = (
        "decides     'checks' from a probability of 100 % on, 'noise' from 0.1 % on, else the most "
        "probable of the others\n"
    )
    assert decides in run.out
    assert "mean cost" not in run.out
    assert load_model(out).rule == ClassThresholds((0.999999, 0.001, None))
    in_python = offshelf.fit(scenes, thresholds={"Noise": 0.001, "checks": 0.999999})
    assert in_python.model.rule == load_model(out).rule
    assert {row.label for row in offshelf.predict(out, scenes / "test" / "checks").predictions} == {
        "noise"
    }


@pytest.mark.slow
def test_marks_keep_their_meaning(scenes: Path, tmp_path: Path) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text(COSTS)
    known = {"reject": 0.2, "reject_by": "confidence"}
    plain, rule = tmp_path / "plain.offshelf", tmp_path / "rule.offshelf"
    offshelf.fit(scenes, plain, **known)  # type: ignore[arg-type]
    offshelf.fit(scenes, rule, **known, costs=costs)  # type: ignore[arg-type]
    one, two = (offshelf.predict(model, scenes / "test").predictions for model in (plain, rule))
    assert [(a.unknown, a.unlike, a.scores, a.probabilities) for a in one] == [
        (b.unknown, b.unlike, b.scores, b.probabilities) for b in two
    ]
    assert [a.label for a in one] == [b.most_probable for b in two]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--costs", "c.csv", "--thresholds", "noise=0.3"),
            "costs and thresholds: each decides by itself; give one of them",
        ),
        (
            ("--costs", "c.csv", "--calibrate", "none"),
            "costs need probabilities: calibrate by temperature or sigmoid, not none",
        ),
        (
            ("--thresholds", "noise=0.3", "--calibrate", "none"),
            "thresholds need probabilities: calibrate by temperature or sigmoid, not none",
        ),
        (
            ("--costs", "none.csv"),
            "none.csv: no such file; what mistakes cost is a CSV file: its first row and first "
            "column name the classes, or its columns are true, decided and cost",
        ),
        (
            ("--costs", "c.csv"),
            "c.csv: 'nois' is none of the classes 'checks', 'noise', 'stripes'. Did you mean "
            "'noise'?",
        ),
        (
            ("--thresholds", "nois=0.3"),
            "thresholds: 'nois' is none of the classes 'checks', 'noise', 'stripes'. Did you mean "
            "'noise'?",
        ),
        (
            ("--thresholds", "noise=3"),
            "the threshold of 'noise' is a share between 0 and 1 such as 0.03, not 3.0",
        ),
        (
            ("--thresholds", "noise"),
            "thresholds: need CLASS=PROBABILITY, such as ill=0.3, not 'noise'",
        ),
    ],
)
def test_what_cannot_be_decided_is_said_before_the_network_runs(
    words: tuple[str, ...],
    said: str,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("offshelf.jobs.setup.labelled_features.run_network", None)
    (tmp_path / "c.csv").write_text("true,decided,cost\nnois,checks,3\n")
    run = Run(capsys, "fit", scenes, *words, "--quiet")
    assert (run.code, run.out) == (2, "")
    assert run.err == f"error: {said}\n"


def test_single_images_of_each_class_give_no_probabilities(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "single.csv"
    rows = [
        f"{scenes / split / name / number},{name},{split}"
        for split, number in (("train", "0.png"), ("test", "1.png"))
        for name in ("checks", "noise")
    ]
    table.write_text("\n".join(["path,label,split", *rows]))
    run = Run(capsys, "fit", table, "--thresholds", "noise=0.3", "--quiet")
    assert run.code == 2
    said = "every class has a single training image, so none can be held out"
    assert run.err.endswith(f"error: thresholds need probabilities: {said}\n")


def test_the_model_decides_and_no_option_of_predict(
    model: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("--costs", "c.csv"), ("--thresholds", "noise=0.3")):
        run = Run(capsys, "predict", model, scenes, *words)
        assert run.code == 2
        assert "the model file holds what decides; train it again with 'offshelf fit" in run.err


def test_settings_objects_are_taken(scenes: Path) -> None:
    settings = offshelf.DecisionSettings(thresholds={"noise": 0.9})
    found = offshelf.fit(scenes, decision=settings)
    assert found.model.rule == ClassThresholds((None, 0.9, None))
    with pytest.raises(OffshelfError, match="settings objects and single options are not mixed"):
        offshelf.fit(scenes, decision=settings, seed=1)


@pytest.mark.slow
def test_the_estimator_decides_and_saves_the_rule(
    scenes: Path, tmp_path: Path, images: list[Path]
) -> None:
    train = sorted((scenes / "train").rglob("*.png"))
    labels = [path.parent.name for path in train]
    costs = tmp_path / "costs.csv"
    costs.write_text(COSTS)
    settings = offshelf.DecisionSettings(costs=costs)
    classifier = clone(offshelf.TransferClassifier(decision=settings)).fit(train, labels)
    assert classifier.predict(images).tolist() == ["noise"] * len(images)
    assert classifier.predict(images[:1]).tolist() == ["noise"]
    likeliest = classifier.predict_proba(images).argmax(axis=1)
    assert len(set(likeliest.tolist())) == 3
    saved = classifier.save(tmp_path / "m.offshelf")
    assert load_model(saved).rule == classifier.rule_
    assert offshelf.load_model(saved).predict(images[:2]).tolist() == ["noise"] * 2
    # Labels that are no texts are named by theirs.
    numbers = [sorted(set(labels)).index(name) for name in labels]
    by_number = offshelf.DecisionSettings(thresholds={"1": 1e-9})
    other = offshelf.TransferClassifier(decision=by_number).fit(train, numbers)
    assert other.predict(images).tolist() == [1] * len(images)
    for wrong, said in (
        (offshelf.TransferClassifier(decision=settings, calibrate="none"), "costs need prob"),
        (offshelf.TransferClassifier(decision=by_number), "'1' is none of the classes"),
    ):
        with pytest.raises(OffshelfError, match=said):
            wrong.fit(train, labels)


SEVERAL = {
    "thresholds": [0.0] * 3,
    "slopes": [-1.0] * 3,
    "offsets": [0.0] * 3,
    "held_out_f1": [None] * 3,
    "notes": [],
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A model file with a rule that no network was needed for."""
    model = dataclasses.replace(
        made_model(),
        certainty=Certainty(calibration=Temperature(1.0)),
        rule=ClassThresholds((0.3, None, None)),
    )
    return save_model(model, tmp_path / "small.offshelf")


def test_a_rule_is_an_optional_field_of_the_file(small: Path, tmp_path: Path) -> None:
    assert load_model(small).rule == ClassThresholds((0.3, None, None))
    document = json.loads(members_of(small)["manifest.json"])
    assert document["decision"] == {"kind": "thresholds", "thresholds": [0.3, None, None]}
    plain = save_model(made_model(), tmp_path / "plain.offshelf")
    assert "decision" not in json.loads(members_of(plain)["manifest.json"])
    assert load_model(plain).rule is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda d: d.update(decision={"kind": "costs", "costs": [[0, 1], [1, 0]]}),
            "damaged decision rule: it is of 2 classes, the classifier of 3",
        ),
        (
            lambda d: d.update(decision={"kind": "thresholds", "thresholds": [7, None, None]}),
            "damaged decision rule: a threshold lies between 0 and 1, such as 0.3, not 7",
        ),
        (
            lambda d: d.update(decision="costs"),
            "damaged decision rule: need costs or thresholds",
        ),
        (
            lambda d: d.update(decision={"kind": "costs", "costs": [[0, 1, 1e999]] * 3}),
            "damaged decision rule: a cost is a number from 0 to 1,000,000,000, not inf",
        ),
        (
            lambda d: d["head"].update(labels=SEVERAL),
            "a decision rule of one label in a model of several",
        ),
        (
            lambda d: d["certainty"].update(calibration=None),
            "a decision rule without a calibration: it needs probabilities",
        ),
    ],
)
def test_hostile_rules_are_refused(
    change: Callable[[dict[str, Any]], Any], said: str, small: Path
) -> None:
    with pytest.raises(ModelFileError) as caught:
        load_model(tampered(small, change))
    assert str(caught.value) == f"{small}: {said}"


def test_a_rule_that_would_not_load_is_not_saved(tmp_path: Path) -> None:
    model = dataclasses.replace(made_model(), rule=ClassThresholds((0.3, None, None)))
    with pytest.raises(ModelFileError, match="a decision rule without a calibration"):
        save_model(model, tmp_path / "no.offshelf")
    assert not (tmp_path / "no.offshelf").exists()
