"""8-bit products after the transform: one result on every processor, near the direct one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import made_convolutions
from made_convolutions import run
from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.data.tables.image_table import read_table
from offshelf.engine.contract import Calibration, EngineOptions, Tap
from offshelf.engine.openvino_engine import int8, int8_winograd
from offshelf.engine.openvino_engine.graph_cache import load_graph
from offshelf.engine.openvino_engine.winograd import kernel, match, rewrite
from offshelf.engine.openvino_engine.winograd.chain import PlainConvolution
from offshelf.engine.openvino_engine.winograd.convolution import Convolution
from offshelf.engine.openvino_engine.winograd.int8_ranges import (
    Ranges,
    fitted,
    from_text,
    into_points,
)
from offshelf.engine.openvino_engine.winograd.panel_layout import Kind, Registers
from offshelf.engine.openvino_runtime import graph_bytes, import_openvino, the_core
from offshelf.engine.selection import open_engine
from offshelf.errors import EngineError
from offshelf.jobs.setup.precision import calibration
from offshelf.jobs.setup.settings import RunSettings

needs_code = pytest.mark.skipif(
    kernel.registers() is None, reason="direct convolutions only: no AVX2, or switched off"
)
WIDE, NARROW = (16, (14, 8, 2)), (8, (6, 4, 2))


def able() -> list[tuple[str, Registers]]:
    """Return the ways that this processor can go."""
    own = kernel.registers()
    if own is None:
        return []
    sizes = {"narrow": NARROW} | ({"wide": WIDE} if own.width == WIDE[0] else {})
    dots = (False, True) if own.dot else (False,)
    return [
        (f"{name} {dot}", Registers(*size, dot)) for name, size in sizes.items() for dot in dots
    ]


def made(channels: int, depth: int, relu: bool = True, pool: bool = False) -> Convolution:
    patches = np.abs(np.random.default_rng(depth).normal(size=(200, 4, 4, depth)))
    plain = made_convolutions.made(channels, depth, relu, pool)
    return dataclasses.replace(plain, ranges=fitted(patches.astype(np.float32)))


def images(count: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.abs(made_convolutions.images(count, height, width, channels))


def exact(steps: list[Convolution], x: np.ndarray) -> np.ndarray:
    values = torch.from_numpy(x).permute(0, 3, 1, 2)
    for step in steps:
        weights, bias = torch.from_numpy(step.weights), torch.from_numpy(step.bias)
        values = nn.functional.conv2d(values, weights, bias, padding=1)
        values = values.relu() if step.relu else values
        values = nn.functional.max_pool2d(values, 2) if step.pool else values
    return values.permute(0, 2, 3, 1).numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


# --- the product --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("registers", [way for _, way in able()], ids=[name for name, _ in able()])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 5), (7, 7), (9, 14), (31, 30)])
def test_every_way_gives_the_bits_of_numpy(
    monkeypatch: pytest.MonkeyPatch,
    registers: Registers,
    height: int,
    width: int,
    pool: bool,
    relu: bool,
) -> None:
    steps, x = [made(64, 32, relu, pool), made(32, 64)], images(3, height, width, 32)
    monkeypatch.setattr(kernel, "registers", lambda: registers)
    found = run(steps, x)
    monkeypatch.setattr(kernel, "registers", lambda: None)
    assert np.array_equal(found, run(steps, x))


def test_it_is_near_the_direct_convolution() -> None:
    steps, x = [made(64, 32, pool=True), made(96, 64), made(32, 96, False)], images(2, 21, 17, 32)
    fitting = []
    for i, step in enumerate(steps):
        frame = np.pad(exact(steps[:i], x), ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(frame, (4, 4), (1, 2))
        patches = windows.reshape(-1, frame.shape[-1], 4, 4).transpose(0, 2, 3, 1)
        fitting.append(dataclasses.replace(step, ranges=fitted(patches)))
    assert 0.999 < cosine(run(fitting, x), exact(steps, x)) < 1


@pytest.mark.parametrize("registers", [way for _, way in able()], ids=[name for name, _ in able()])
def test_what_is_out_of_range_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, registers: Registers
) -> None:
    step, x = made(64, 32), images(2, 12, 12, 32)
    x[0] *= 1e4
    x[1, 3] = -1e9
    monkeypatch.setattr(kernel, "registers", lambda: registers)
    found = run([step], x)
    monkeypatch.setattr(kernel, "registers", lambda: None)
    assert np.isfinite(found).all()
    assert np.array_equal(found, run([step], x))


def test_an_image_alone_gives_the_same_bits() -> None:
    steps, x = [made(64, 32, pool=True), made(64, 64)], images(5, 27, 22, 32)
    together = run(steps, x)
    for i in (0, 2, 4):
        assert np.array_equal(run(steps, x[i : i + 1])[0], together[i])


@pytest.mark.slow
@needs_code
def test_each_function_keeps_its_own_machine_code() -> None:
    own = kernel.registers()
    one, other = (kernel.made.__wrapped__(Kind(pool=False), own) for _ in range(2))
    assert one.engine is not other.engine  # type: ignore[attr-defined]


def test_only_int8_goes_by_numpy() -> None:
    plain = dataclasses.replace(made(64, 32), ranges=None)
    with pytest.raises(ValueError, match="only int8 is computed in numpy"):
        PlainConvolution(plain)


def test_channels_that_do_not_fit_go_by_numpy() -> None:
    step, x = made(40, 12), images(2, 9, 9, 12)
    assert cosine(run([step], x), exact([step], x)) > 0.99


# --- the ranges ---------------------------------------------------------------


def test_only_sums_of_what_is_not_negative_get_all_steps() -> None:
    patches = images(50, 4, 4, 8)
    assert np.flatnonzero(fitted(patches).offsets == 0).tolist() == [5]
    assert (fitted(patches - 1).offsets == 128).all()


def test_the_transform_is_that_of_the_paper() -> None:
    patches = images(3, 4, 4, 2)
    matrix = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    expected = matrix @ patches[1, :, :, 0] @ matrix.T
    assert np.allclose(into_points(patches)[:, 1, 0].reshape(4, 4), expected)


def test_few_large_numbers_are_cut_off_for_the_others() -> None:
    patches = images(4000, 4, 4, 1)
    plain = fitted(patches)
    patches[0] *= 8
    # A factor of 8 would make every step 8 times as coarse.
    assert (fitted(patches).steps < 4 * plain.steps).all()


def test_a_loud_channel_does_not_drown_the_others() -> None:
    patches = images(400, 4, 4, 8)
    patches[..., 3] *= 100
    ranges = fitted(patches)
    assert ranges.channels.argmax() == 3
    points = into_points(patches)
    back = ranges.rounded(points) * ranges.steps[:, None, None] * ranges.channels
    assert all(cosine(back[..., i], points[..., i]) > 0.99 for i in range(8))


def test_a_sample_without_edges_says_nothing_of_signs() -> None:
    ranges = fitted(np.ones((50, 4, 4, 8), np.float32))
    assert np.flatnonzero(ranges.offsets == 0).tolist() == [5]
    # All differences are 0: their steps are those of the sums.
    assert (ranges.steps == ranges.steps[5]).all()


def test_nothing_but_zeros_has_ranges_too() -> None:
    ranges = fitted(np.zeros((5, 4, 4, 8), np.float32))
    assert np.isfinite(ranges.scales()).all()
    assert not ranges.rounded(np.zeros((16, 5, 8), np.float32)).any()


def test_ranges_come_back_from_text() -> None:
    ranges = fitted(images(50, 4, 4, 8))
    again = from_text(json.loads(json.dumps(ranges.to_text())), 8)
    for field in dataclasses.fields(Ranges):
        assert np.array_equal(getattr(again, field.name), getattr(ranges, field.name))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": np.ones(15, "<f4")}, "the ranges' steps are no 16 numbers"),
        ({"channels": np.ones(9, "<f4")}, "the ranges' channels are no 8 numbers"),
        ({"steps": np.full(16, np.nan, "<f4")}, "the ranges' steps are no 16 numbers"),
        ({"steps": np.zeros(16, "<f4")}, "the ranges' units are not positive"),
        ({"channels": -np.ones(8, "<f4")}, "the ranges' units are not positive"),
        ({"offsets": np.full(16, 7, "<f4")}, "the ranges' offsets are not 0 or 128"),
    ],
)
def test_other_ranges_are_refused(change: dict[str, np.ndarray], text: str) -> None:
    ranges = dataclasses.replace(fitted(images(50, 4, 4, 8)), **change)
    with pytest.raises(ValueError, match=text):
        from_text(ranges.to_text(), 8)


# --- in a graph ---------------------------------------------------------------


def pixels(count: int) -> np.ndarray:
    draw = np.random.default_rng(1)
    coarse = draw.integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
    return coarse.repeat(16, 1).repeat(16, 2)


def options(**own: object) -> EngineOptions:
    calibration = Calibration("b" * 64, lambda: pixels(6))
    return EngineOptions("openvino", precision="int8", calibration=calibration, **own)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, tuple[Tap, ...], Path]:
    """A VGG, a layer after three of its convolutions, and a cache of its own."""
    backbone = open_backbone("vgg11", weights="random")
    return backbone, (Tap("features.10", "avg"),), tmp_path_factory.mktemp("cache")


needs_bytes = pytest.mark.skipif(
    not kernel.has_fast_int8(), reason="no VNNI, or AMX, which is faster"
)


@pytest.mark.slow
@needs_bytes
def test_vgg_is_ranged(vgg) -> None:
    backbone, taps, cache = vgg
    with contextlib.closing(open_engine(backbone, list(taps), options(cache_dir=cache))) as engine:
        found = engine.run(pixels(5))[taps[0]]
        alone = engine.run(pixels(5)[3:4])[taps[0]]
    assert np.array_equal(alone[0], found[3])
    plain = EngineOptions("openvino", cache_dir=cache)
    with contextlib.closing(open_engine(backbone, list(taps), plain)) as engine:
        expected = engine.run(pixels(5))[taps[0]]
    assert 0.98 < cosine(found, expected) < 0.99999


def quantised(backbone: Backbone, taps: tuple[Tap, ...], run: EngineOptions) -> object:
    return int8.quantised(backbone, run, lambda: load_graph(backbone, taps, run.in_fp32()))


@pytest.mark.slow
@needs_bytes
def test_its_graph_says_so_and_is_the_same_each_time(vgg) -> None:
    backbone, taps, _ = vgg
    one, two = (quantised(backbone, taps, options(threads=n)) for n in (1, 2))
    texts = [[r.to_text() for r in rewrite.read_ranges(graph).values()] for graph in (one, two)]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 3
    assert rewrite.is_worth_rewriting(one)


@pytest.mark.slow
@needs_bytes
def test_the_graph_gives_the_same_on_another_processor(
    vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, taps, _ = vgg
    network = graph_bytes(quantised(backbone, taps, options()))
    found = []
    for registers in (kernel.registers(), None):
        monkeypatch.setattr(kernel, "registers", lambda known=registers: known)
        kept = Calibration("b" * 64, network=network)
        run = EngineOptions("openvino", precision="int8", calibration=kept, batch_size=1)
        with contextlib.closing(open_engine(backbone, list(taps), run)) as engine:
            found.append(engine.run(pixels(2))[taps[0]])
    assert np.array_equal(*found)


def test_ranges_are_not_for_processors_without_the_instruction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for registers in (None, Registers(*NARROW)):
        monkeypatch.setattr(kernel, "registers", lambda known=registers: known)
        assert not kernel.has_fast_int8.__wrapped__()
    monkeypatch.setattr(kernel, "registers", lambda: Registers(*NARROW, dot=True))
    # What the environment hides from libraries is hidden from this, too.
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    for matrix_unit in (True, False):
        features = {"avx2": True, "amx-int8": matrix_unit}
        monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda f=features: f)
        assert kernel.has_fast_int8.__wrapped__() is not matrix_unit


def test_network_and_processor_decide_how_int8_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["vgg16", "vgg11_bn", "vgg19.tv_in1k", "resnet18", "efficientnet_lite0"]
    monkeypatch.setattr(int8_winograd, "has_fast_int8", lambda: True)
    assert [int8_winograd.int8_method(name) for name in names] == ["winograd"] * 3 + ["nncf"] * 2
    monkeypatch.setattr(int8_winograd, "has_fast_int8", lambda: False)
    assert {int8_winograd.int8_method(name) for name in names} == {"nncf"}


def test_the_way_is_part_of_the_key(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, table = open_backbone("vgg11", weights="random"), read_table(scenes)
    digests = set()
    for able_to in (True, False, True):
        monkeypatch.setattr(int8_winograd, "has_fast_int8", lambda known=able_to: known)
        digests.add(calibration(table, backbone, RunSettings()).digest)
    assert len(digests) == 2


@pytest.mark.slow
@needs_bytes
def test_a_layer_before_such_convolutions_is_left_in_fp32(vgg) -> None:
    backbone, _, cache = vgg
    taps = [Tap("features.1", "avg")]
    found = []
    for asked in (options(cache_dir=cache), EngineOptions("openvino", cache_dir=cache)):
        with contextlib.closing(open_engine(backbone, taps, asked)) as engine:
            found.append(engine.run(pixels(2))[taps[0]])
    assert np.allclose(*found, rtol=1e-5)


@pytest.mark.slow
@needs_bytes
def test_no_image_to_calibrate_on_is_said(vgg) -> None:
    backbone, taps, _ = vgg
    nothing = Calibration("b" * 64, lambda: np.empty((0, 224, 224, 3), np.uint8))
    run = EngineOptions("openvino", precision="int8", calibration=nothing)
    text = "precision int8: none of the images to calibrate on can be used"
    with pytest.raises(EngineError, match=text):
        quantised(backbone, taps, run)


def small_graph() -> object:
    openvino = import_openvino()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
    example = torch.zeros((1, 32, 8, 8))
    with torch.inference_mode():
        shape = openvino.PartialShape(list(example.shape))
        return openvino.convert_model(network.eval(), example_input=example, input=[shape])


def convolution_of(model: object) -> str:
    ops = model.get_ops()  # type: ignore[attr-defined]
    return next(op.get_friendly_name() for op in ops if op.get_type_name() == "Convolution")


@pytest.mark.slow
def test_marks_that_do_not_fit_are_refused() -> None:
    model = small_graph()
    name = convolution_of(model)
    good = fitted(images(50, 4, 4, 32)).to_text()
    place = ["offshelf", "ranges"]
    parameter = model.get_parameters()[0].get_friendly_name()  # type: ignore[attr-defined]
    unnamed, unfit = "do not name its convolutions", "do not fit it"
    for document, text in (
        ({"absent": good}, unnamed),
        ({name: good, "absent": good}, unnamed),
        ([1], unnamed),
        ({name: {}}, unfit),
        ({name: 3}, unfit),
        (3, unfit),
        ({name: {**good, "steps": "AA="}}, "padding"),
    ):
        model.set_rt_info(json.dumps(document), place)  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match=text):
            rewrite.read_ranges(model)
    model.set_rt_info(json.dumps({parameter: good}), place)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="is no convolution that has ranges"):
        rewrite.read_ranges(model)
    model.set_rt_info("no json", place)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="Expecting value"):
        rewrite.read_ranges(model)
    with pytest.raises(EngineError, match="the int8 network in the model file cannot be read"):
        int8._from_file(*graph_bytes(model))


@pytest.mark.slow
@needs_code
@pytest.mark.skipif(
    "ONEDNN_MAX_CPU_ISA" in os.environ,
    reason="OpenVINO chooses 8-bit weights by the processor, and oneDNN may not compute them here",
)
def test_fully_connected_layers_shrink_to_8_bits() -> None:
    openvino = import_openvino()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.Flatten(), nn.Linear(2048, 64))
    example = torch.zeros((1, 32, 8, 8))
    with torch.inference_mode():
        shape = openvino.PartialShape(list(example.shape))
        model = openvino.convert_model(network.eval(), example_input=example, input=[shape])
    x = images(1, 8, 8, 32).transpose(0, 3, 1, 2)
    core, hint = the_core(), {"INFERENCE_PRECISION_HINT": "f32"}
    before = core.compile_model(model, "CPU", hint)(x)[0]
    smaller = int8._smaller(model)
    # The convolution stays as it is: its ranges come on top.
    assert len(match.find(smaller)) == 1
    assert 4 * 9 * 32 * 32 + 2048 * 64 < len(graph_bytes(smaller)[1]) < 2048 * 64 * 1.5
    assert cosine(core.compile_model(smaller, "CPU", hint)(x)[0], before) > 0.9999


def test_nodes_of_one_name_are_refused() -> None:
    """Else the ranges of one would be used for the other, whatever its size."""
    model = small_graph()
    name = convolution_of(model)
    rewrite.write_ranges(model, {name: fitted(images(50, 4, 4, 32))})
    model.get_parameters()[0].set_friendly_name(name)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="do not name its convolutions"):
        rewrite.read_ranges(model)


def test_weights_too_small_for_float16_keep_their_size() -> None:
    weights = made(32, 32).weights
    assert rewrite._halved(weights).dtype == np.float16
    for scale in (1e-6, 1e6):
        weights[5] *= np.float32(scale)
        assert rewrite._halved(weights) is weights
        weights[5] /= np.float32(scale)


def test_marks_keep_the_weights_in_half_the_size() -> None:
    model = small_graph()
    name = convolution_of(model)
    before = len(graph_bytes(model)[1])
    rewrite.write_ranges(model, {name: fitted(images(50, 4, 4, 32))})
    assert len(graph_bytes(model)[1]) < 0.6 * before
    assert list(rewrite.read_ranges(model)) == [name]
    assert rewrite.read_ranges(small_graph()) == {}
