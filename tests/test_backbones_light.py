"""torch's compiler stays away until it is wanted, and then it is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from offshelf.backbones.construct import torch_context

SOURCE = Path(__file__).resolve().parents[1] / "src"


def said(code: str) -> str:
    """Return what *code* prints in a new process."""
    where = {"PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | where,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_network_is_described_and_loaded_without_the_compiler() -> None:
    code = """
import sys
from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.construct.architectures import load_module
from offshelf.backbones.named_layers import all_layers
backbone = open_backbone("efficientnet_lite0")
load_module(backbone.spec, backbone.file)
print(len(all_layers(backbone.spec, 224)) > 100, "torch._dynamo" in sys.modules)
import torch
import torchvision
network = torch.compile(torchvision.models.alexnet().eval(), backend="eager")
print(tuple(network(torch.ones(1, 3, 64, 64)).shape), torch._dynamo.__name__)
"""
    assert said(code).splitlines() == ["True False", "(1, 1000) torch._dynamo"]


@pytest.mark.slow
def test_a_catalogued_layer_is_tapped_without_torchs_symbols() -> None:
    code = """
import sys
from offshelf.backbones.backbone import open_backbone
from offshelf.engine.contract import Tap
from offshelf.engine.torch_engine.tapped_network import TappedNetwork
backbone = open_backbone("efficientnet_lite0")
network = TappedNetwork(backbone, [Tap(backbone.path_of("penultimate"))])
print("sympy" in sys.modules, sum(tensor.is_meta for tensor in network.parameters()))
"""
    assert said(code) == "False 0"


def test_numbers_are_drawn_where_there_is_memory() -> None:
    import torch

    with torch_context.without_draws():
        torch.manual_seed(0)
        drawn = torch.nn.Linear(3, 2)
        blank = torch.nn.Linear(3, 2, device="meta")
    torch.manual_seed(0)
    assert torch.equal(drawn.weight, torch.nn.Linear(3, 2).weight)
    assert blank.weight.is_meta


@pytest.mark.slow
def test_a_question_to_the_stand_in_brings_the_compiler() -> None:
    code = """
import sys
from offshelf.backbones.construct.torch_context import without_compiler
with without_compiler():
    import torch._dynamo as early
    before = "torch._dynamo.config" in sys.modules
    print(before, early.is_compiling(), "torch._dynamo.config" in sys.modules)
with without_compiler():
    print(hasattr(sys.modules["torch._dynamo"], "__file__"))
"""
    assert said(code).splitlines() == ["False False True", "True"]


@pytest.mark.slow
def test_box_operators_can_still_ask() -> None:
    code = """
import sys
from offshelf.backbones.construct.torch_context import import_torchvision
import_torchvision()
ask = sys.modules["torchvision.ops.roi_align"].is_compile_supported
print("torch._dynamo" in sys.modules, ask("cpu"), "torch._dynamo" in sys.modules)
"""
    assert said(code) == "False True True"


def test_a_marked_function_is_left_alone_from_when_the_compiler_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marked = torch_context._disable(reason="a test")(lambda x: x + 1)
    monkeypatch.delitem(sys.modules, torch_context.COMPILER, raising=False)
    assert marked(1) == 2
    told = []

    def disable(function: object, recursive: bool, **options: object) -> object:
        told.append((recursive, options))
        return lambda x: ("left alone", x)

    monkeypatch.setitem(sys.modules, torch_context.COMPILER, SimpleNamespace(disable=disable))
    assert marked(1) == marked(1) == ("left alone", 1)
    assert told == [(True, {"reason": "a test"})]
