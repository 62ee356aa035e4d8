"""Convolutions with fewer multiplications: the numbers of the direct ones, to rounding."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from made_convolutions import images, made, run
from offshelf.engine.openvino_engine.winograd import convolution, kernel, rewrite
from offshelf.engine.openvino_engine.winograd.chain import Chain
from offshelf.engine.openvino_engine.winograd.convolution import Convolution, fits, packed
from offshelf.engine.openvino_engine.winograd.panel_layout import Kind, Registers
from offshelf.engine.openvino_runtime import import_openvino, the_core
from offshelf.engine.processor import WINOGRAD_SWITCH

pytestmark = pytest.mark.skipif(
    kernel.registers() is None, reason="direct convolutions only: no AVX2, or switched off"
)
needs_halves = pytest.mark.skipif(
    not kernel.has_fast_bf16(), reason="no AVX512_BF16, or AMX, which is faster"
)
NARROW = Registers(8, (6, 4, 2))


@pytest.fixture(params=["own", "narrow"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with the registers of this processor, and with those of AVX2."""
    if request.param == "narrow":
        monkeypatch.setattr(kernel, "registers", lambda: NARROW)


def reference(steps: list[Convolution], x: np.ndarray) -> np.ndarray:
    values = torch.from_numpy(x).permute(0, 3, 1, 2).double()
    for step in steps:
        weights, bias = (torch.from_numpy(a).double() for a in (step.weights, step.bias))
        values = nn.functional.conv2d(values, weights, bias, padding=1)
        values = values.relu() if step.relu else values
        values = nn.functional.max_pool2d(values, 2) if step.pool else values
    return values.permute(0, 2, 3, 1).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 2), (2, 2), (3, 5), (4, 4), (7, 7), (9, 14), (17, 6), (30, 31)]
)
def test_a_convolution_is_that_of_torch(
    processor: None, height: int, width: int, pool: bool, relu: bool
) -> None:
    if pool and height == 1:
        height = 2
    step, x = made(64, 32, relu, pool), images(3, height, width, 32)
    expected = reference([step], x)
    assert np.abs(run([step], x) - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.slow
def test_a_chain_is_that_of_torch(processor: None) -> None:
    steps = [made(64, 32, pool=True), made(32, 64), made(96, 32, False, True), made(32, 96)]
    for height, width in [(37, 18), (8, 9), (50, 50)]:
        x = images(2, height, width, 32)
        expected = reference(steps, x)
        assert np.abs(run(steps, x) - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.slow
def test_many_weights_take_another_block(processor: None) -> None:
    steps, x = [made(512, 320), made(320, 512)], images(5, 23, 29, 320)
    expected = reference(steps, x)
    assert np.abs(run(steps, x) - expected).max() <= 5e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("rows", "tiles"), [(6, (12, 96, 192)), (14, (14, 98, 196))])
def test_blocks_are_whole_rows_of_registers(
    rows: int, tiles: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rest of two rows takes half as long as six: their sums wait for one another."""
    monkeypatch.setattr(kernel, "required", lambda: Registers(8, (rows, 4, 2)))
    sizes = convolution.SMALL, convolution.CACHED, convolution.CACHED + 1
    assert tuple(map(convolution._tiles, sizes)) == tiles


@pytest.mark.parametrize(
    ("rows", "count", "most", "tiles"),
    [(6, 196, 96, 66), (6, 98, 192, 102), (6, 0, 96, 0), (14, 196, 98, 98), (14, 197, 98, 70)],
)
def test_passes_share_the_tiles(
    rows: int, count: int, most: int, tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "required", lambda: Registers(8, (rows, 4, 2)))
    assert convolution._shared(count, most) == tiles


@pytest.mark.slow
def test_the_size_of_a_block_changes_no_bit(
    processor: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, x = [made(64, 32, pool=True), made(64, 64)], images(2, 30, 41, 32)
    first = run(steps, x)
    for tiles in (*range(2, 20, 2), 98):
        monkeypatch.setattr(convolution, "_shared", lambda *_, count=tiles: count)
        assert np.array_equal(run(steps, x), first)


@pytest.mark.slow
def test_an_image_alone_gives_the_same_bits(processor: None) -> None:
    steps = [made(64, 32, pool=True), made(64, 64)]
    chain, x = Chain(steps, 27, 22), images(7, 27, 22, 32)
    together = np.empty((7, *chain.shape), np.float32)
    chain.run(x, together)
    for i in (0, 3, 6):
        alone = np.empty((1, *chain.shape), np.float32)
        chain.run(x[i : i + 1], alone)
        assert np.array_equal(alone[0], together[i])


@pytest.mark.slow
def test_threads_do_not_meet(processor: None) -> None:
    chain = Chain([made(64, 32), made(32, 64, pool=True)], 33, 33)
    parts = [images(4, 33, 33, 32) * np.float32(i + 1) for i in range(6)]

    def one(x: np.ndarray) -> np.ndarray:
        out = np.empty((4, *chain.shape), np.float32)
        chain.run(x, out)
        return out

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(one, parts * 3))
    alone = [one(x) for x in parts] * 3
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_weights_round_to_the_nearest_bfloat16() -> None:
    weights = made(64, 32).weights
    whole, half = (packed(weights, Kind(False, n)).numbers for n in ("float", "half"))
    panel = kernel.registers().panel  # type: ignore[union-attr]
    pairs = whole.reshape(-1, 16, 2, panel).transpose(0, 1, 3, 2).ravel()
    expected = torch.from_numpy(np.ascontiguousarray(pairs)).bfloat16().view(torch.uint16)
    assert np.array_equal(half, expected.numpy())


@pytest.mark.slow
@needs_halves
@pytest.mark.parametrize(("height", "width"), [(8, 12), (13, 9)])
def test_halves_are_near(height: int, width: int) -> None:
    steps = [made(64, 32, pool=True), made(96, 64), made(64, 96, relu=False)]
    x = images(3, height, width, 32)
    chain = Chain(steps, height, width, half=True)
    out = np.empty((3, *chain.shape), np.float32)
    chain.run(x, out)
    expected = reference(steps, x)
    cosine = (out * expected).sum() / np.linalg.norm(out) / np.linalg.norm(expected)
    assert 0.9995 < cosine < 1
    alone = np.empty((1, *chain.shape), np.float32)
    chain.run(x[1:2], alone)
    assert np.array_equal(alone[0], out[1])


def test_what_does_not_fit_is_left_alone(processor: None) -> None:
    assert fits(64, 32)
    assert not fits(64, 3)
    assert not fits(40, 32)


@pytest.mark.parametrize("machine", ["aarch64", "riscv64"])
def test_an_unmeasured_processor_convolves_directly(
    monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert kernel.registers.__wrapped__() is None
    monkeypatch.setattr(kernel, "registers", lambda: None)
    assert not fits(64, 64)
    with pytest.raises(RuntimeError, match="this processor is not supported"):
        Chain([made(64, 64)], 8, 8)


def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WINOGRAD_SWITCH, "0")
    assert kernel.registers.__wrapped__() is None


# --- in a graph ---------------------------------------------------------------


def graph(network: nn.Module, channels: int = 32, size: int = 20) -> object:
    openvino = import_openvino()
    example = torch.zeros((2, channels, size, size))
    with torch.inference_mode():
        shape = openvino.PartialShape(list(example.shape))
        return openvino.convert_model(network.eval(), example_input=example, input=[shape])


def replaced(model: object) -> int:
    """Return how many chains the rewritten graph has, after comparing what it computes."""
    after = rewrite.rewritten(model)
    x = images(2, 20, 20, 32).transpose(0, 3, 1, 2)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    core = the_core()
    expected = core.compile_model(model, "CPU", hint)(np.ascontiguousarray(x))
    found = core.compile_model(after, "CPU", hint)(np.ascontiguousarray(x))
    for a, b in zip(expected.values(), found.values(), strict=True):
        assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
    return sum(op.get_type_name() == "WinogradChain" for op in after.get_ops())


def conv(stride: int = 1, padding: int = 1, **options: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(32, 32, 3, stride, padding, **options)  # type: ignore[arg-type]


class Residual(nn.Module):
    """Two convolutions around which the input goes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(), conv()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.second(self.first(x).relu())).relu()


class Forked(nn.Module):
    """A map in the middle is an output, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(), conv()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        middle = self.first(x).relu()
        return nn.functional.max_pool2d(middle, 2), self.second(middle)


class Tapped(nn.Module):
    """Maps in the middle are reduced to one number for each channel, as taps are."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([conv(), conv(), conv()])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first = nn.functional.max_pool2d(self.parts[0](x).relu(), 2)
        second = self.parts[1](first)
        third = self.parts[2](second).relu()
        found = [first.flatten(2).mean(2), second.flatten(2).amax(2), second.flatten(2).mean(2)]
        return *found, third, third.flatten(2).mean(2)


class Misread(Tapped):
    """What is reduced is not the positions, or not all of a channel's."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first = self.parts[0](x)
        second = self.parts[1](first)
        return (
            first.flatten(2).mean(1),
            second.flatten(1).unsqueeze(1).mean(2),
            self.parts[2](second),
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "chains"),
    [
        (nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2), conv()), 1),
        (nn.Sequential(conv(bias=False), nn.BatchNorm2d(32), nn.ReLU(), conv(bias=False)), 1),
        (nn.Sequential(conv(), nn.MaxPool2d(2), nn.ReLU(), conv()), 2),
        (nn.Sequential(conv(), nn.MaxPool2d(3, 2), conv(), nn.MaxPool2d(2, ceil_mode=True)), 2),
        (nn.Sequential(conv(), nn.Sigmoid(), conv()), 2),
        (nn.Sequential(conv(), conv(2), conv()), 2),
        (nn.Sequential(conv(padding=0), conv(dilation=2)), 0),
        (nn.Sequential(conv(groups=2), nn.Conv2d(32, 30, 3, 1, 1), nn.Conv2d(30, 32, 3, 1, 1)), 0),
        (nn.Sequential(Residual(), Residual()), 2),
        (Forked(), 2),
        (Tapped(), 1),
        (Misread(), 3),
    ],
)
def test_a_graph_computes_the_same(network: nn.Module, chains: int) -> None:
    assert replaced(graph(network)) == chains


@pytest.mark.slow
def test_taps_of_many_images_are_those_of_one(processor: None) -> None:
    steps = [made(64, 32, pool=True), made(512, 64), made(512, 512), made(64, 512, relu=False)]
    steps = [dataclasses.replace(step, taps=("mean", "max")) for step in steps]
    x = images(3, 22, 17, 32)
    chain = Chain(steps, 22, 17)
    assert chain.taps == (64, 64, 512, 512, 512, 512, 64, 64)
    out = np.empty((3, *chain.shape), np.float32)
    tapped = [np.empty((3, channels), np.float32) for channels in chain.taps]
    chain.run(x, out, tapped)
    for i in range(3):
        alone = [np.empty((1, channels), np.float32) for channels in chain.taps]
        chain.run(x[i : i + 1], out[i : i + 1], alone)
        assert all(np.array_equal(a[i], b[0]) for a, b in zip(tapped, alone, strict=True))
    for count in range(1, 5):
        expected = reference(steps[:count], x)
        mean, largest = tapped[2 * count - 2 : 2 * count]
        scale = np.abs(expected).max()
        assert np.abs(mean - expected.mean((1, 2))).max() <= 1e-5 * scale
        assert np.abs(largest - expected.max((1, 2))).max() <= 5e-5 * scale


@pytest.mark.slow
def test_only_networks_of_such_convolutions_are_rewritten() -> None:
    many = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv(), conv(), conv(2))
    few = nn.Sequential(conv(), *(nn.Conv2d(32, 32, 5, 1, 2) for _ in range(3)))
    assert rewrite.is_worth_rewriting(graph(many))
    assert not rewrite.is_worth_rewriting(graph(few))
    assert not rewrite.is_worth_rewriting(graph(nn.Sequential(nn.ReLU(), nn.Flatten())))
