"""Damaged images are left out and said by every command; what is cached changes nothing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from offshelf.cli.main import main

END = b"\xff\xd9"
SHARE = "50 % of the picture could be read; --keep-damaged takes such images"
LEFT_OUT = ["damaged", "truncated"]


def photo(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of photos; in one, a photo cut and closed, and one that only ends early."""
    folder = tmp_path / "photos"
    for name, first in (("a", 0), ("b", 20)):
        (folder / name).mkdir(parents=True)
        for number in range(first, first + 6):
            (folder / name / f"{number}.jpg").write_bytes(photo(number))
    whole = photo(50)
    start = whole.index(b"\xff\xda")
    half = whole[: start + (len(whole) - start) // 2 + 60]
    (folder / "a" / "closed.jpg").write_bytes(half + END)
    (folder / "a" / "cut.jpg").write_bytes(half)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(one) for one in arguments])
    found = capsys.readouterr()
    return code, found.out, found.err


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    code, out, _ = run(capsys, *arguments, "--json", "--engine", "torch")
    document = json.loads(out)
    assert code == (0 if document.get("n_ok", 1) else 1)
    return document


@pytest.mark.slow
def test_extract_lists_them_on_a_warm_and_a_fresh_store(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    def found(cache: str, *options: str) -> list[tuple[str, str, str]]:
        command = ("extract", photos, "--out", tmp_path / "f.parquet", "--cache-dir")
        told = document(capsys, *command, tmp_path / cache, *options)
        return sorted((Path(f["path"]).name, f["status"], f["reason"]) for f in told["failures"])

    left = [
        ("closed.jpg", "damaged", SHARE),
        ("cut.jpg", "truncated", f"the file ends early, {SHARE}"),
    ]
    assert found("one") == left
    assert found("one", "--keep-damaged") == []
    assert found("one") == left
    assert found("two", "--keep-damaged") == []
    assert found("two") == left
    small = found("two", "--max-memory", "1M")
    assert [status for _, status, _ in small] == ["too_large"] * 14
    assert small == found("three", "--max-memory", "1M")
    assert small[0][2].startswith("64 x 64 pixels need ")
    assert small[0][2].endswith(" to decode, the budget is 1 MB; see --max-memory")


@pytest.mark.slow
def test_what_is_kept_is_noted_once(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    for _ in range(2):  # computed, then stored
        command = ("extract", photos, "--out", tmp_path / "f.parquet", "--keep-damaged")
        _, _, err = run(capsys, *command, "--engine", "torch")
        note = "jpg: damaged, taken as far as it can be read (and 1 more image)"
        assert " ".join(err.split()).count(note) == 1


@pytest.mark.slow
def test_fit_predict_and_audit_say_so(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    model = tmp_path / "m.offshelf"
    _, out, err = run(capsys, "fit", photos, "--out", model, "--engine", "torch")
    assert f"closed.jpg: damaged, {SHARE}" in out + err
    told = document(capsys, "predict", model, photos / "a")
    statuses = {Path(row["path"]).name: row["status"] for row in told["predictions"]}
    assert [statuses["closed.jpg"], statuses["cut.jpg"]] == LEFT_OUT
    told = document(capsys, "predict", model, photos / "a", "--keep-damaged")
    assert {row["status"] for row in told["predictions"]} == {"ok"}
    told = document(capsys, "audit", photos)
    found = [one for one in told["findings"] if one["kind"] == "unreadable"]
    assert sorted(one["reason"] for one in found) == [
        f"damaged: {SHARE}",
        f"truncated: the file ends early, {SHARE}",
    ]
    told = document(capsys, "audit", photos, "--keep-damaged")
    assert not [one for one in told["findings"] if one["kind"] == "unreadable"]
