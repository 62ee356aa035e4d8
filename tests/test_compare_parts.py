"""The parts of a comparison: views, recipes, the plan and its keys, costs, pictures."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from offshelf import sealed_json
from offshelf.backbones.backbone import chosen_layers, open_backbone, stage_layers
from offshelf.data.decoding.limits import Facts
from offshelf.errors import HeadError, LayerError, OffshelfError
from offshelf.feature_sets.feature_set import Joining
from offshelf.features.store.feature_store import FeatureStore
from offshelf.heads.fitting.fit_head import Recipe as HeadRecipe
from offshelf.heads.fitting.fit_head import fit_head
from offshelf.heads.preparation.reduction import product_of
from offshelf.jobs.compare import processes
from offshelf.jobs.compare.feature_sets import Part, Source, View, views_of
from offshelf.jobs.compare.grid import (
    HeadAxes,
    NetworkAxes,
    ProtocolSettings,
    check_size,
    recipes_of,
)
from offshelf.jobs.compare.grid_cell import Cell, matrix_of, read_cell, run_unit
from offshelf.jobs.compare.plan import Plan, Stored
from offshelf.jobs.compare.processes import run_plan
from offshelf.jobs.compare.source_features import Speed, macs_up_to
from offshelf.jobs.setup.settings import HeadSettings
from offshelf.measurement.splits.protocol import Fold
from offshelf.progress import Silent, notifying

PLAIN_JOINING = Joining(("none",))
LAYERS = {"deepest": ("last",), "all": ("first", "last")}


def layers(source: Source, words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for word in words for name in LAYERS.get(word, (word,)))


def named(views: tuple[View, ...]) -> list[tuple[str, str, str]]:
    return [(view.backbone, view.layer, view.pooling) for view in views]


def test_views_are_all_combinations_by_backbone_and_depth() -> None:
    axes = NetworkAxes(backbones=("a", "b"), layers=("all",), poolings=("avg", "max"))
    assert named(views_of(axes, (), layers)) == [
        (backbone, layer, pooling)
        for backbone in ("a", "b")
        for layer in ("first", "last")
        for pooling in ("avg", "max")
    ]


def test_the_same_twice_is_one_view() -> None:
    assert (
        len(
            views_of(
                NetworkAxes(backbones=("a", "a"), layers=("x", "x"), poolings=("avg", "avg")),
                (),
                layers,
            )
        )
        == 1
    )


def test_every_setting_of_a_network_is_a_source() -> None:
    axes = NetworkAxes(
        backbones=("a",), weights=("trained", "random"), scalings=("weights", "none")
    )
    found = views_of(axes, (), layers)
    assert {(view.weights, view.scaling) for view in found} == {
        (weights, scaling) for weights in ("trained", "random") for scaling in ("weights", "none")
    }


def test_concatenations() -> None:
    axes = NetworkAxes(backbones=("a", "b"))
    views = views_of(axes, ("all", "a:first+a:last"), layers)
    assert named(views[2:]) == [
        ("a + b", "a:last + b:last", "avg"),
        ("a", "first + last", "avg"),
    ]


def test_flips_need_the_mirror_images_too() -> None:
    plain, flipped = views_of(NetworkAxes(backbones=("a",), flips=("no", "yes")), (), layers)
    assert plain.flips == "none"
    assert len(plain.needs) == 1
    assert flipped.flips == "prediction"
    assert [part.source.mirrored for part in flipped.needs] == [False, True]


@pytest.mark.parametrize(
    ("concat", "text"),
    [
        ("a:", "the concatenation 'a:' has one part only: name several backbones or layers"),
        ("a:x++b", "cannot read the features 'a:x++b': a part is empty; write "),
        ("a:x+a:x", "the features 'a:x+a:x' name a part twice"),
        ("a:x+a:x/avg", "the concatenation 'a:x+a:x/avg' names a layer twice"),
        ("+".join(f"a:{n}" for n in range(17)), "have 17 parts: at most 16"),
    ],
)
def test_concatenations_that_cannot_be(concat: str, text: str) -> None:
    with pytest.raises(OffshelfError) as caught:
        views_of(NetworkAxes(backbones=("a",)), (concat,), layers)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        (
            NetworkAxes(weights=("trianed",)),
            "unknown weights 'trianed': use trained, random. Did you mean 'trained' or 'random'?",
        ),
        (NetworkAxes(scalings=("imagenet",)), "unknown scaling 'imagenet': use weights, none."),
        (NetworkAxes(flips=("maybe",)), "no flips 'maybe': none, training, prediction, both."),
        (NetworkAxes(layers=()), "nothing to compare: layers is empty"),
        (HeadAxes(class_weights=()), "nothing to compare: class weights is empty"),
        (
            ProtocolSettings(kind="repeat"),
            "unknown protocol 'repeat': use given, k-fold, repeats. Did you mean 'repeats'?",
        ),
    ],
)
def test_axes_that_hold_no_such_word(axes: NetworkAxes, text: str) -> None:
    with pytest.raises(OffshelfError) as caught:
        axes.check()
    assert str(caught.value) == text


def test_all_is_one_layer_of_each_stage_that_the_weights_reach() -> None:
    vgg = open_backbone("vgg16", weights="random")
    pools = tuple(f"pool{n}" for n in range(1, 6))
    assert stage_layers(vgg) == (*pools, "relu6", "penultimate")
    half = dataclasses.replace(vgg.file.spec, covers=("features",))
    part = dataclasses.replace(vgg, file=dataclasses.replace(vgg.file, spec=half))
    assert chosen_layers(part, ("all",)) == pools
    assert chosen_layers(part, ("deepest",)) == ("pool5",)
    with pytest.raises(LayerError, match="relu7 needs tensors"):
        chosen_layers(part, ("penultimate",))


def test_a_layer_under_two_names_is_one() -> None:
    vgg = open_backbone("vgg16", weights="random")
    assert chosen_layers(vgg, ("relu7", "penultimate", "pool1")) == ("relu7", "pool1")


def test_a_network_without_named_stages_gives_one_layer_of_each_resolution() -> None:
    tiny = open_backbone("timm/test_resnet", weights="random")
    found = stage_layers(tiny)
    assert found[-1] == "penultimate"
    shapes = [tiny.require(name).shape for name in found[:-1]]
    sides = [shape[-1] for shape in shapes]
    assert sides == sorted(set(sides), reverse=True)


def test_recipes() -> None:
    found = recipes_of(
        HeadAxes(heads=("svm", "knn:5", "centroid"), cs=(1.0, "auto"), reductions=("none",))
    )
    assert [(one.head, one.c) for one in found] == [
        ("svm", 1.0),
        ("svm", "auto"),
        ("knn:5", 1.0),
        ("centroid", 1.0),
    ]


@pytest.mark.parametrize(
    "axes",
    [
        HeadAxes(heads=("svn",)),
        HeadAxes(cs=(0.0,)),
        HeadAxes(normalisations=("l3",)),  # type: ignore[arg-type]
        HeadAxes(reductions=("pca",)),
        HeadAxes(class_weights=("equal",)),  # type: ignore[arg-type]
    ],
)
def test_recipes_that_no_head_knows(axes: HeadAxes) -> None:
    with pytest.raises(HeadError):
        recipes_of(axes)


def test_a_large_grid_asks_first() -> None:
    with pytest.raises(OffshelfError) as caught:
        check_size(range(1000), range(100), 10, sure=False)
    assert str(caught.value) == (
        "the grid has 100,000 rows in 10 folds: 1,000,000 heads, about 111.1 hours beside the "
        "extraction; make it smaller, or say --yes"
    )
    check_size(range(1000), range(100), 10, sure=True)


@pytest.mark.slow
def test_multiply_accumulates_grow_with_depth() -> None:
    backbone = open_backbone("efficientnet_lite0")
    paths = [backbone.path_of(name) for name in stage_layers(backbone)]
    counts = [macs_up_to(backbone, path) for path in paths]
    assert counts == sorted(counts)
    assert counts[0] > 0
    speed = Speed(10.0, dict(zip(paths, counts, strict=True)))
    assert speed.of(paths[-1]) == 10.0
    assert 0 < speed.of(paths[0]) < 1


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    draw = np.random.default_rng(0)
    targets = np.arange(60) % 3
    features = draw.normal(size=(60, 8)).astype(np.float32) + 2 * np.eye(3, 8)[targets]
    identity = {"made": "for a test"}
    store = FeatureStore(tmp_path / "features", identity, 8)
    digests = tuple(bytes([number]) * 32 for number in range(60))
    for digest, row in zip(digests, features.astype(np.float32), strict=True):
        store.append(digest, row, Facts(width=8, height=8))
    store.flush()
    fold = Fold(np.arange(40), np.arange(40, 60))
    return Plan(
        root=tmp_path / "features",
        results=tmp_path / "compared",
        digests=digests,
        targets=targets.astype(np.int64),
        classes=("a", "b", "c"),
        folds=(fold,),
        views=(Stored((identity,), PLAIN_JOINING),),
        recipes=(HeadSettings(), HeadSettings(c=0.01), HeadSettings(head="centroid")),
        seed=0,
    )


def test_groups_are_part_of_a_plan_and_of_the_name_of_a_cell_that_chooses_c(plan: Plan) -> None:
    grouped = dataclasses.replace(plan, groups=np.arange(60) // 6)
    read = Plan.from_json(json.loads(json.dumps(grouped.to_json())))
    assert read.groups is not None
    assert read.groups.tolist() == (np.arange(60) // 6).tolist()
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))).groups is None
    auto = HeadSettings(c="auto")
    assert grouped.place(0, 0, HeadSettings()) == plan.place(0, 0, HeadSettings())
    assert len({one.place(0, 0, auto) for one in (plan, grouped, read)}) == 2


def cells(plan: Plan) -> list[Cell | None]:
    return [read_cell(plan, 0, 0, recipe) for recipe in plan.recipes]


def test_a_cell_holds_what_the_head_says(plan: Plan) -> None:
    run_unit(plan, 0, 0)
    store = FeatureStore(plan.root, dict(plan.views[0].parts[0]))
    matrix = store.read(plan.digests)
    for recipe, cell in zip(plan.recipes, cells(plan), strict=True):
        head = fit_head(
            HeadRecipe(kind=recipe.head, c=recipe.c), matrix[:40], plan.targets[:40], plan.classes
        )
        from offshelf.heads.fitting.fit_head import decision

        assert cell is not None
        assert cell.predictions == tuple(decision(head, matrix[40:]).argmax(axis=1).tolist())
        assert cell.dimension == 8


def test_a_plan_survives_json(plan: Plan) -> None:
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.to_json() == plan.to_json()
    assert again.place(0, 0, HeadSettings()) == plan.place(0, 0, HeadSettings())


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"classes": ("a", "b", "d")},
        {"views": (Stored(({"made": "otherwise"},), PLAIN_JOINING),)},
        {"views": (Stored(({"made": "for a test"},), PLAIN_JOINING, ({"made": "for a test"},)),)},
        {"folds": (Fold(np.arange(39), np.arange(40, 60)),)},
        {"targets": np.zeros(60, np.int64)},
        {"digests": tuple(bytes([60 - number]) * 32 for number in range(60))},
    ],
)
def test_what_decides_the_numbers_decides_the_name(plan: Plan, change: dict[str, object]) -> None:
    other = dataclasses.replace(plan, **change)  # type: ignore[arg-type]
    assert other.place(0, 0, HeadSettings()) != plan.place(0, 0, HeadSettings())


@pytest.mark.parametrize(
    "recipe",
    [HeadSettings(normalisation="none"), HeadSettings(reduction="pca:2"), HeadSettings(c=2.0)],
)
def test_another_recipe_has_another_name(plan: Plan, recipe: HeadSettings) -> None:
    assert plan.place(0, 0, recipe) != plan.place(0, 0, HeadSettings())


@pytest.mark.parametrize(
    "damage",
    [
        *("", "[]", "{}", '{"predictions": 3}', "digit", "swapped"),
        *({"predictions": [0] * 19}, {"predictions": [3] * 20}, {"predictions": [-1] * 20}),
        *({"predictions": ["a"] * 20}, {"predictions": [True] * 20}, {"predictions": 3}),
        *({"fit_seconds": -1}, {"fit_seconds": "long"}, {"predict_seconds": float("nan")}),
        *({"dimension": 0}, {"dimension": "8"}, {"c": "auto"}, {"notes": [1]}, {"more": 1}),
        *({"searched": 3}, {"searched": ["a", 1.0]}),
        *({"problem": "none"}, {"problem": 1}),
    ],
)
def test_a_damaged_cell_is_made_again(plan: Plan, damage: str | dict[str, object]) -> None:
    run_unit(plan, 0, 0)
    before = cells(plan)
    place = plan.place(0, 0, plan.recipes[0])
    if damage == "digit":
        text = place.read_text()
        place.write_text(text.replace("    2", "    1", 1))
        assert place.read_text() != text
    elif damage == "swapped":
        place.write_bytes(plan.place(0, 0, plan.recipes[2]).read_bytes())
    elif isinstance(damage, str):
        place.write_text(damage)
    else:
        sealed_json.write(place, (sealed_json.read(place) or {}) | damage)
    told = Silent()
    with notifying(told):
        assert read_cell(plan, 0, 0, plan.recipes[0]) is None
        run_unit(plan, 0, 0)
    assert told.notes == [f"{place}: damaged, set aside; it is made again"]
    after = cells(plan)
    assert after[0] is not None
    assert before[0] is not None
    assert after[0].predictions == before[0].predictions
    assert after[1:] == before[1:]


def test_cells_of_before_are_kept_but_where_auto_could_go_no_further(plan: Plan) -> None:
    recipe = HeadSettings(head="ridge", c="auto")
    auto = dataclasses.replace(plan, recipes=(recipe,))
    run_unit(auto, 0, 0)
    place = auto.place(0, 0, recipe)
    made = sealed_json.read(place) or {}
    assert made["searched"][0] <= 0.01
    assert made["searched"][1] >= 100
    before = {name: value for name, value in made.items() if name != "searched"}
    told = Silent()
    with notifying(told):
        for c, kept in ((1.0, True), (100.0, False), (0.01, False)):
            sealed_json.write(place, {**before, "c": c})
            assert (read_cell(auto, 0, 0, recipe) is not None) is kept
        run_unit(auto, 0, 0)
    assert told.notes == []
    assert (sealed_json.read(place) or {})["searched"] == made["searched"]


@pytest.mark.slow
def test_processes_say_what_this_process_says(plan: Plan, tmp_path: Path) -> None:
    many = dataclasses.replace(
        plan,
        folds=tuple(Fold(np.arange(n, n + 40), np.arange(50, 60)) for n in range(6)),
        recipes=(HeadSettings(), HeadSettings(c=0.1), HeadSettings(head="ridge")),
    )
    here = dataclasses.replace(many, results=tmp_path / "here")
    run_plan(here, Silent(), workers=1)
    run_plan(many, Silent(), workers=2)
    for unit in many.units:
        for recipe in many.recipes:
            one, other = (read_cell(p, *unit, recipe) for p in (here, many))
            assert one is not None
            assert other is not None
            assert one.predictions == other.predictions


@pytest.mark.slow
def test_a_working_process_that_fails_says_why(plan: Plan) -> None:
    many = dataclasses.replace(
        plan,
        digests=(b"\x99" * 32, *plan.digests[1:]),
        folds=tuple(Fold(np.arange(n, n + 40), np.arange(50, 60)) for n in range(3)),
        recipes=tuple(HeadSettings(c=c) for c in (0.1, 0.2, 0.3, 0.4, 0.5)),
    )
    with pytest.raises(OffshelfError) as caught:
        run_plan(many, Silent(), workers=2)
    assert str(caught.value).endswith("1 row is not in the store; run again")


def test_a_working_process_that_is_killed_is_said(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = dataclasses.replace(
        plan,
        folds=tuple(Fold(np.arange(n, n + 40), np.arange(50, 60)) for n in range(3)),
        recipes=tuple(HeadSettings(c=c) for c in (0.1, 0.2, 0.3, 0.4, 0.5)),
    )
    monkeypatch.setattr(processes.sys, "executable", shutil.which("false"))
    with pytest.raises(OffshelfError) as caught:
        run_plan(many, Silent(), workers=2)
    assert str(caught.value) == "a worker process exited: killed"


def test_a_reduction_beyond_the_rank_is_a_row_with_a_reason(plan: Plan) -> None:
    recipe = HeadSettings(reduction="pca:200")
    run_unit(dataclasses.replace(plan, recipes=(recipe,)), 0, 0)
    cell = read_cell(plan, 0, 0, recipe)
    assert cell is not None
    assert cell.predictions == ()
    assert "200" in cell.problem


def test_parts_side_by_side_have_norm_one(plan: Plan) -> None:
    part = plan.views[0].parts[0]
    several = dataclasses.replace(plan, views=(Stored((part, part), Joining(("l2", "l2"))),))
    matrix = matrix_of(several, 0, several.folds[0].train)
    assert matrix.shape == (40, 16)
    assert np.allclose(np.linalg.norm(matrix[:, :8], axis=1), 1, atol=1e-6)


def test_a_mirror_image_is_another_source() -> None:
    part = Part(Source(backbone="vgg16"), "pool5", "avg")
    assert part.mirror.source.mirrored
    assert not part.source.mirrored


@pytest.mark.slow
def test_a_product_keeps_products_of_inner_products() -> None:
    draw = np.random.default_rng(0)
    one, other = (
        (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        for rows in (draw.normal(size=(40, 50)) + 1, draw.normal(size=(40, 5000)) + 1)
    )
    sketch = product_of([one, other], seed=0)
    assert sketch.shape == (40, 2048)
    expected = (one @ one.T) * (other @ other.T)
    # An entry is a mean over 2,048 signs, so it is off by about 1 / sqrt(2048) and a little.
    assert np.abs(sketch @ sketch.T - expected).mean() < 2 / np.sqrt(2048)
    assert np.array_equal(sketch, product_of([one, other], seed=0))
    assert not np.array_equal(sketch, product_of([one, other], seed=1))


def test_a_product_is_another_view(plan: Plan) -> None:
    part = plan.views[0].parts[0]
    both = [
        dataclasses.replace(plan, views=(Stored((part, part), Joining(("l2", "l2"), p)),))
        for p in (False, True)
    ]
    side_by_side, product = (matrix_of(one, 0, one.folds[0].train) for one in both)
    assert side_by_side.shape == (40, 16)
    assert product.shape == (40, 2048)
    assert both[0].place(0, 0, HeadSettings()) != both[1].place(0, 0, HeadSettings())
    again = Plan.from_json(json.loads(json.dumps(both[1].to_json())))
    assert again.views == both[1].views


def test_products_are_named_by_their_sign() -> None:
    views = views_of(NetworkAxes(backbones=("a",)), ("a:first*a:last",), layers)
    assert views[-1].product
    assert views[-1].layer == "first * last"
    with pytest.raises(OffshelfError, match="it mixes "):
        views_of(NetworkAxes(backbones=("a",)), ("a:x+a:y*a:z",), layers)


def test_a_process_that_ended_is_reported_also_when_its_folder_is_gone(tmp_path: Path) -> None:
    """Ctrl-C reaches every process: the folder goes while a thread still waits for its own."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    for folder, last in ((tmp_path, "the last line"), (tmp_path / "gone", "killed")):
        if folder.is_dir():
            (folder / "said.txt").write_text("a line\nthe last line\n")
        process = subprocess.Popen([sys.executable, "-c", ""], **streams)
        process.wait()
        answer = processes._ask(process, {}, folder / "said.txt")
        process.communicate()
        assert answer == {"error": f"a worker process exited: {last}"}
