"""``offshelf inspect``: the figures of issue and papers, every form, bad input."""

from __future__ import annotations

import csv
import io
import json

import pytest

import offshelf
from offshelf.cli.main import main
from offshelf.errors import BackboneError
from offshelf.jobs.inspect import Inspection, inspect


@pytest.fixture(scope="module")
def vgg16() -> Inspection:
    return inspect("vgg16")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["inspect", *arguments]) == 0
    return capsys.readouterr().out


def test_vgg16_has_21_rows_and_the_known_totals(vgg16: Inspection):
    document = vgg16.to_json()
    assert [row["number"] for row in document["rows"]] == list(range(1, 22))
    totals = {group: total["parameters"] for group, total in document["totals"].items()}
    assert totals["convolution"] == 14714688
    assert totals["linear"] == 123642856
    assert totals["all"] == sum(totals.values()) - totals["all"] == 138357544
    assert sum(row["parameters"] for row in document["rows"]) == 138357544
    assert round(document["ratio_convolution_to_linear"], 9) == 0.119009609
    assert document["totals"]["linear"]["share"] == pytest.approx(0.8936, abs=5e-5)
    assert document["agreements"][0]["agrees"] is True


def test_all_adds_activations_normalisation_and_dropout(vgg16: Inspection):
    assert {row.group for row in vgg16.shown} == {"convolution", "pooling", "linear"}
    more = {row.group for row in vgg16.rows} - {row.group for row in vgg16.shown}
    assert more == {"activation", "dropout"}
    assert len(vgg16.table(every=True).rows) == 38
    with_norm = inspect("vgg16_bn")
    assert "normalisation" in {row.group for row in with_norm.rows}
    assert len(with_norm.shown) == 21


def test_the_result_prints_itself(vgg16: Inspection):
    lines = str(vgg16).splitlines()
    assert len(repr(vgg16).splitlines()) <= 10 < len(lines)
    assert lines[0] == "Layers of vgg16, input 3 x 224 x 224"
    assert lines[3].split()[:2] == ["1", "conv1_1"]
    last = " ".join(lines[23].split())
    assert last == "21 fc8 linear 4,096 1,000 1000 4,097,000 4,096,000 4.0 kB -"
    assert "convolutions / linear layers, parameters: 0.119" in lines
    assert "torchvision's description of the weights (num_params): 138,357,544, agrees" in lines


def test_it_is_a_public_name(vgg16: Inspection):
    assert offshelf.inspect("vgg16").to_json() == vgg16.to_json()


def test_a_batch_scales_macs_and_memory_but_no_parameters():
    one, eight = inspect("alexnet").to_json(), inspect("alexnet", batch_size=8).to_json()
    for row, larger in zip(one["rows"], eight["rows"], strict=True):
        assert larger["macs"] == 8 * row["macs"]
        assert larger["activation_bytes"] == 8 * row["activation_bytes"]
        assert larger["parameters"] == row["parameters"]
        assert larger["output_shape"] == row["output_shape"]
    assert one["rows"][0]["activation_bytes"] == 4 * 64 * 55 * 55
    assert eight["totals"]["all"]["macs"] == 8 * one["totals"]["all"]["macs"]


@pytest.mark.slow
def test_another_input_size_moves_shapes_and_asks_nobody_to_agree():
    larger = inspect("resnet18", input_size=448)
    assert larger.parameters == 11689512
    assert larger.rows[0].shape == (64, 224, 224)
    assert larger.agreements == ()
    # Position embeddings grow with the input.
    assert inspect("dinov2_vits14", input_size=224).parameters < 22056192


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("alexnet", 61100840),
        ("resnet50", 25557032),
        ("efficientnet_lite0", 4652008),
        ("convnext_tiny", 28589128),
    ],
)
def test_the_command_gives_published_totals(
    name: str, total: int, capsys: pytest.CaptureFixture[str]
):
    document = json.loads(printed(capsys, name, "--json"))
    assert document["totals"]["all"]["parameters"] == total
    assert all(one["agrees"] for one in document["agreements"])


@pytest.mark.parametrize(
    ("form", "first", "held"),
    [
        ("text", "Layers of alexnet, input 3 x 224 x 224", "Totals of alexnet"),
        ("markdown", "**Layers of alexnet, input 3 x 224 x 224**", "| conv1 |"),
        ("csv", "no.,layer,function,in,out,output shape,parameters,MACs,", "1,conv1,"),
        ("html", "<table>", "<td>conv1</td>"),
        ("latex", r"\begin{table}", r"1 & conv1 & convolution 11 x 11, stride 4, padding 2"),
    ],
)
def test_every_form_has_the_same_rows(
    form: str, first: str, held: str, capsys: pytest.CaptureFixture[str]
):
    text = printed(capsys, "alexnet", "--format", form)
    assert text.startswith(first)
    assert held in text
    for row in inspect("alexnet").shown:
        figure = str(row.parameters) if form == "csv" else f"{row.parameters:,}"
        assert figure in text


def test_csv_is_the_layers_alone_in_raw_numbers(capsys: pytest.CaptureFixture[str]):
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "vgg16", "--format", "csv"))))
    assert len(rows) == 21
    assert sum(int(row["parameters"]) for row in rows) == 138357544


def test_json_twice_is_the_same(capsys: pytest.CaptureFixture[str]):
    assert printed(capsys, "alexnet", "--json") == printed(capsys, "alexnet", "--format", "json")


def test_fields_that_are_not_square_are_written_with_both_sides():
    result = inspect("torchvision/inception_v3")
    fields = {row.receptive_field for row in result.rows if row.receptive_field}
    assert any(height != width for height, width in fields)
    assert any(" x " in str(row[-1]) for row in result.table().rows)


def test_a_wrong_name_is_one_line():
    with pytest.raises(BackboneError, match=r"no backbone 'vgg61'\. Did you mean 'vgg19' or"):
        inspect("vgg61")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["vgg16", "--format", "htm"],
            "error: --format: no 'htm': text, markdown, csv, json, html, latex. Did you mean",
        ),
        (["vgg16", "--input-size", "0"], "error: --input-size: 0 is not from 1 to 8192"),
        (["vgg16", "--input-size", "8"], "error: vgg16: does not take images of 8 x 8 pixels: "),
        (["vgg16", "--batch-size", "x"], "error: --batch-size: 'x' is no whole number"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]):
    try:
        code = main(["inspect", *arguments])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.startswith(line)
    assert len(captured.err.splitlines()) == 1


@pytest.mark.real
def test_the_authors_convolutions_agree(shared, tmp_path, monkeypatch):
    folder = tmp_path / "weights" / "vgg16"
    folder.mkdir(parents=True)
    (folder / "vgg16_features.safetensors").symlink_to(
        shared / "weights" / "vgg16_features.safetensors"
    )
    found = inspect("vgg16", cache_dir=tmp_path).agreements
    assert [(one.stated, one.counted, one.agrees) for one in found[1:]] == [
        (14714688, 14714688, True)
    ]


def test_a_damaged_weights_file_is_told_and_harms_nothing(tmp_path):
    folder = tmp_path / "weights" / "vgg16"
    folder.mkdir(parents=True)
    (folder / "vgg16_features.safetensors").write_bytes(b"nothing")
    result = inspect("vgg16", cache_dir=tmp_path)
    (damaged,) = result.agreements[1:]
    assert not damaged.agrees
    assert "vgg16_features.safetensors" in damaged.problem
    assert any(damaged.problem in line for line in result.remarks())
