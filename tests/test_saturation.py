"""int8 without VNNI: no sum of products is cut off, wherever the network was quantised."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from offshelf.engine import processor
from offshelf.engine.contract import EngineOptions
from offshelf.engine.openvino_engine.int8 import (
    MAX_PAIR,
    channel_factors,
    scaled_weights,
    without_overflow,
)
from offshelf.engine.openvino_runtime import import_openvino
from offshelf.engine.selection import numeric_environment
from offshelf.jobs.fit.job import fit
from offshelf.jobs.setup.settings import RunSettings
from offshelf.model_file.model import load_model

ELSEWHERE = """
import sys
import numpy as np
from offshelf.model_file.model import load_model
from offshelf.data.tables.image_table import read_table
from offshelf.engine.contract import EngineOptions
from offshelf.features.extraction import extract
from offshelf.jobs.fit.job import fit
from offshelf.jobs.setup.settings import RunSettings
from offshelf.opened_model import engine_of

data, model, folder = sys.argv[1:]
exact = fit(data)
rows = range(len(exact.table))
kind = exact.model.kind
calibrated = fit(data, run=RunSettings(engine=EngineOptions(precision="int8")))
options = engine_of(load_model(model).backbone, EngineOptions(cache_dir=folder))
brought = extract(exact.table.paths, exact.backbone, [kind], options)
plain = exact.extraction.matrix(kind, rows)
for other in (calibrated.extraction, brought):
    found = other.matrix(kind, rows)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(plain, axis=1)
    print(other.precision[:4], ((found * plain).sum(1) / norms).mean())
"""


@pytest.mark.slow
def test_int8_is_as_exact_with_avx2_alone(scenes: Path, tmp_path: Path) -> None:
    model = tmp_path / "small.offshelf"
    fit(scenes, model, run=RunSettings(engine=EngineOptions(precision="int8")))
    assert load_model(model).backbone.precision == "int8"
    hidden = {"ONEDNN_MAX_CPU_ISA": "AVX2", "OFFSHELF_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(scenes), str(model), str(tmp_path / "other")],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | hidden,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [word for word, _ in lines] == ["int8", "int8"]
    # Cut off they were 0.91.
    assert min(float(cosine) for _, cosine in lines) > 0.96, done.stdout


@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (6, 8), (4, 3, 2, 1, 1)])
def test_no_pair_of_weights_is_cut_off(shape: tuple[int, ...]) -> None:
    outputs = 2 if len(shape) == 5 else 1
    draw = np.random.default_rng(0)
    weights = draw.integers(-127, 128, shape).astype(np.int8)
    weights[0] = weights[0] // 8
    share = channel_factors(weights, outputs)
    small = scaled_weights(weights, share, outputs)
    assert (channel_factors(small, outputs) == 1).all()
    assert (small[0] == weights[0]).all()
    assert np.abs(small / share - weights).max() <= 1 / share.min()
    inputs = np.moveaxis(np.abs(small.astype(int)), outputs, 0)
    for left, right in zip(inputs[::2], inputs[1::2], strict=False):
        assert (left + right).max() <= MAX_PAIR


def test_two_that_round_up_still_fit() -> None:
    weights = np.array([[127, 127, 101, 101]], np.int8)
    assert channel_factors(scaled_weights(weights, channel_factors(weights, 1), 1), 1).item() == 1
    uneven = np.array([[127, 126, 95, 33]], np.int8)
    assert channel_factors(scaled_weights(uneven, channel_factors(uneven, 1), 1), 1).item() == 1


@pytest.mark.parametrize("kind", ["matrix", "turned", "convolution", "groups"])
def test_an_eased_graph_computes_nearly_the_same(kind: str) -> None:
    openvino = import_openvino()
    draw = np.random.default_rng(1)
    shape, data = {
        "matrix": ((6, 8), (3, 8)),
        "turned": ((8, 6), (3, 8)),
        "convolution": ((6, 8, 1, 1), (1, 8, 2, 2)),
        "groups": ((2, 3, 4, 1, 1), (1, 8, 2, 2)),
    }[kind]
    per_channel = (1, 6) if kind == "turned" else (*shape[: 1 + (kind == "groups")],)
    unit = draw.uniform(0.01, 0.02, per_channel).astype(np.float32)
    unit = (
        unit
        if kind == "turned"
        else unit.reshape(*per_channel, *[1] * (len(shape) - len(per_channel)))
    )
    whole = draw.integers(-127, 128, shape).astype(np.int8)
    ops = openvino.opset13
    source = ops.parameter(list(data), np.float32)
    weights = ops.multiply(ops.convert(ops.constant(whole), "f32"), ops.constant(unit))
    if kind in {"matrix", "turned"}:
        result = ops.matmul(source, weights, False, kind == "matrix")
    else:
        make = ops.convolution if kind == "convolution" else ops.group_convolution
        result = make(source, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    model = openvino.Model([result], [source])
    values = draw.random(data, np.float32)
    before = openvino.compile_model(model, "CPU")(values)[0]
    without_overflow(model)
    after = openvino.compile_model(model, "CPU")(values)[0]
    constants = [op for op in model.get_ordered_ops() if op.get_element_type().to_string() == "i8"]
    assert np.abs(constants[0].data).max() < 127
    assert 0 < np.abs(after - before).max() < 0.03 * np.abs(before).max()


@pytest.mark.parametrize(
    ("flags", "asked", "exact"),
    [
        ({"avx2"}, "", False),
        ({"avx2", "avx_vnni"}, "", True),
        ({"avx2", "avx512f"}, "", False),
        ({"avx2", "avx512_vnni"}, "", True),
        ({"avx2", "avx512_vnni"}, "AVX2", False),
        ({"avx2", "avx512_vnni"}, "AVX512_CORE", False),
        ({"avx2", "avx512_vnni"}, "AVX512_CORE_VNNI", True),
    ],
)
def test_who_adds_exactly(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], asked: str, exact: bool
) -> None:
    monkeypatch.setattr(processor, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", asked)
    assert processor.adds_bytes_exactly() is exact


def test_an_arm_processor_adds_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    assert processor.adds_bytes_exactly()


def test_the_store_keeps_weights_of_7_bits_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for exact in (True, False):
        monkeypatch.setattr("offshelf.engine.selection.adds_bytes_exactly", lambda e=exact: e)
        found[exact] = numeric_environment(EngineOptions(precision="int8"))
        assert "weights" not in numeric_environment(EngineOptions())
    assert found[False] == found[True] | {"weights": "7 bits"}
