"""The zip of a model file: what is written, and every shape of zip that is refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from made_models import EPOCH, made_model, members_of, rehashed, zipped
from offshelf.errors import ModelFileError
from offshelf.model_file import zip_file
from offshelf.model_file.model import SCHEMAS, load_model, save_model

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
PICTURE = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(made_model(), tmp_path_factory.mktemp("good") / "m.offshelf")


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        zip_file.read(path, SCHEMAS)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    tensors = {"head.a": np.arange(6, dtype=np.float32).reshape(2, 3)}
    pictures = [np.full((4, 4, 3), 9, np.uint8), PICTURE]
    path = zip_file.write(tmp_path / "new" / "m.offshelf", {"schema": 1}, tensors, pictures)
    manifest, arrays, found = zip_file.read(path, SCHEMAS)
    assert set(manifest) == {"schema", "sha256"}
    np.testing.assert_array_equal(arrays["head.a"], tensors["head.a"])
    np.testing.assert_array_equal(found, pictures)


def test_the_parts_are_stored_with_a_fixed_date_and_known_names(good: Path) -> None:
    with zipfile.ZipFile(good) as bundle:
        assert {member.date_time for member in bundle.infolist()} == {EPOCH}
        assert {member.compress_type for member in bundle.infolist()} == {zipfile.ZIP_STORED}
        assert bundle.namelist() == [
            "manifest.json",
            "head.safetensors",
            "sample-00.png",
            "sample-01.png",
        ]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zip_file.write(tmp_path / "m.offshelf", {"schema": 1}, {}, [])
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(ModelFileError, match=r"m.offshelf: cannot be written \(No space left"):
        zip_file.write(path, {"schema": 1}, {}, [PICTURE])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_or_another_file_is_no_target(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "empty").touch()
    zip_file.check_target(tmp_path / "empty")
    zip_file.check_target(tmp_path / "not" / "there.offshelf")
    with pytest.raises(ModelFileError, match=r"is a folder; name a file such as my.offshelf"):
        zip_file.check_target(tmp_path)
    for folder in (Path(), Path("/")):
        with pytest.raises(ModelFileError, match="is a folder"):
            zip_file.check_target(folder)
    with pytest.raises(ModelFileError, match=r"photo.jpg is no folder\)"):
        zip_file.check_target(photo / "m.offshelf")
    with pytest.raises(ModelFileError, match="exists and is no model file, so it is not replaced"):
        zip_file.check_target(photo)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    end = "not a model file; a .offshelf file comes first, then images"
    assert refusal(tmp_path / "pipe") == f"is a pipe, socket or device, {end}"


def test_missing_folder_and_text(tmp_path: Path) -> None:
    path = tmp_path / "no.offshelf"
    assert refusal(path) == f"no such model file; 'offshelf fit DATA --out {path}' makes one"
    end = "not a model file; a .offshelf file comes first, then images"
    assert refusal(tmp_path) == f"is a folder, {end}"
    (tmp_path / "text").write_text("PK? no")
    assert refusal(tmp_path / "text") == "is damaged or no .offshelf model file"


def test_a_name_with_a_line_end_stays_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        zip_file.read(tmp_path / "a\nb", SCHEMAS)
    assert "\n" not in str(caught.value)


def _png(mode: str, side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def _bomb() -> bytes:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    return head + struct.pack(">LLBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)


SAMPLE, TENSORS = "sample-00.png", "head.safetensors"
OTHERS = "holds other files than a model file does"
DAMAGED = "is damaged or no .offshelf model file"
NOT_SMALL = "a test image is not a small RGB picture"
Change = Callable[[dict[str, bytes]], dict[str, bytes]]
WRONG_PARTS: dict[str, tuple[Change, str]] = {
    "one more": (lambda m: m | {"extra.txt": b""}, OTHERS),
    "out of the folder": (lambda m: m | {"../../evil.py": b""}, OTHERS),
    "absolute": (lambda m: m | {"/evil.py": b""}, OTHERS),
    "code": (lambda m: m | {"model.pkl": b""}, OTHERS),
    "too many pictures": (
        lambda m: m | {f"sample-{i:02d}.png": _png("RGB", 8) for i in range(17)},
        OTHERS,
    ),
    "a gap in the pictures": (lambda m: {k: v for k, v in m.items() if k != SAMPLE}, OTHERS),
    "no tensors": (lambda m: {k: v for k, v in m.items() if k != TENSORS}, OTHERS),
    "no manifest": (lambda m: {k: v for k, v in m.items() if k != "manifest.json"}, OTHERS),
    "nothing": (lambda _: {}, OTHERS),
    "a changed part": (
        lambda m: m | {TENSORS: m[TENSORS][:-1] + b"\1"},
        "its parts do not match the hashes in its manifest",
    ),
    "no JSON": (lambda m: m | {"manifest.json": b"{"}, "its manifest is no JSON"),
    "no text": (lambda m: m | {"manifest.json": b"\xff\xfe\xfd"}, "its manifest is no JSON"),
    "deep": (lambda m: m | {"manifest.json": b"[" * 10**6}, "its manifest is no JSON"),
    "long number": (lambda m: m | {"manifest.json": b"9" * 10**5}, "its manifest is no JSON"),
    "a list": (lambda m: m | {"manifest.json": b"[1]"}, "its manifest is no JSON object"),
    "no schema": (lambda m: m | {"manifest.json": b"{}"}, "its manifest states no schema"),
    "a true schema": (
        lambda m: m | {"manifest.json": b'{"schema": true}'},
        "its manifest states no schema",
    ),
    "a newer schema": (
        lambda m: m | {"manifest.json": b'{"schema": 99}'},
        "has schema 99, this offshelf reads 1 and 2; use the version of offshelf that wrote it",
    ),
    "no hashes": (
        lambda m: m | {"manifest.json": b'{"schema": 1}'},
        "its parts do not match the hashes in its manifest",
    ),
    "no tensor file": (
        lambda m: rehashed(m | {TENSORS: b"\xff" * 40}),
        "its head.safetensors cannot be read",
    ),
    "a tensor type that numpy lacks": (
        lambda m: rehashed(m | {TENSORS: _bfloat()}),
        "its head.safetensors cannot be read",
    ),
    "no picture": (lambda m: rehashed(m | {SAMPLE: b"GIF89a"}), NOT_SMALL),
    "an empty picture": (lambda m: rehashed(m | {SAMPLE: b""}), NOT_SMALL),
    "a grey picture": (lambda m: rehashed(m | {SAMPLE: _png("L", 8)}), NOT_SMALL),
    "a large picture": (lambda m: rehashed(m | {SAMPLE: _png("RGB", 1025)}), NOT_SMALL),
    "a picture that claims to be huge": (lambda m: rehashed(m | {SAMPLE: _bomb()}), NOT_SMALL),
    "half a picture": (
        lambda m: rehashed(m | {SAMPLE: m[SAMPLE][: len(m[SAMPLE]) // 2]}),
        "a test image cannot be read",
    ),
}


def _bfloat() -> bytes:
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0\0"


@pytest.mark.parametrize(("change", "text"), WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_wrong_parts_are_refused(tmp_path: Path, good: Path, change: Change, text: str) -> None:
    assert refusal(zipped(tmp_path / "m.offshelf", change(members_of(good)))) == text
    assert [path.name for path in tmp_path.iterdir()] == ["m.offshelf"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_part_is_refused(tmp_path: Path, good: Path, method: int) -> None:
    path = zipped(tmp_path / "m.offshelf", members_of(good), method)
    assert refusal(path) == "manifest.json is compressed, which is not allowed"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, good: Path) -> None:
    members = members_of(good) | {SAMPLE: bytes(zip_file.MAX_PICTURE_BYTES + 1)}
    path = zipped(tmp_path / "m.offshelf", members, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with zipfile.ZipFile(path) as bundle:
        assert bundle.getinfo(SAMPLE).file_size > zip_file.MAX_PICTURE_BYTES
    assert refusal(path).endswith("which is not allowed")


@pytest.mark.parametrize(
    ("name", "limit"),
    [("manifest.json", "MAX_MANIFEST_BYTES"), (TENSORS, "MAX_TENSOR_BYTES"), (SAMPLE, None)],
)
def test_a_part_that_is_too_large_is_refused(
    good: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: str | None
) -> None:
    monkeypatch.setattr(zip_file, limit or "MAX_PICTURE_BYTES", 10)
    assert refusal(good) == f"{name} is too large"


def test_an_index_of_a_million_entries_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.offshelf"
    index = bytes(2**20)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(index), 0, 0)
    path.write_bytes(index + end)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the index was parsed"))
    assert refusal(path) == OTHERS


@pytest.mark.parametrize(("at", "text"), [(2**20, OTHERS), (5, DAMAGED)])
def test_an_index_for_large_files_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, text: str
) -> None:
    path = tmp_path / "m.offshelf"
    body = bytes(2**20)
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 9, 9, len(body), 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 100, 0, 0)
    path.write_bytes(body + end_64 + locator + end)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the index was parsed"))
    assert refusal(path) == text


@pytest.mark.parametrize("junk", [b"\0", b"#!/bin/sh\n", b"PK\5\6"])
def test_bytes_behind_the_end_are_refused(tmp_path: Path, good: Path, junk: bytes) -> None:
    path = tmp_path / "m.offshelf"
    path.write_bytes(good.read_bytes() + junk)
    assert refusal(path) == DAMAGED


def test_two_parts_of_one_name_are_refused(tmp_path: Path, good: Path) -> None:
    path = zipped(tmp_path / "m.offshelf", members_of(good))
    with zipfile.ZipFile(path, "a") as bundle, pytest.warns(UserWarning, match="Duplicate"):
        bundle.writestr(zipfile.ZipInfo("manifest.json", EPOCH), b"{}")
    assert refusal(path) == OTHERS


@given(cut=st.integers(0, 4000))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
def test_every_truncation_is_refused(tmp_path: Path, good: Path, cut: int) -> None:
    content = good.read_bytes()
    path = tmp_path / "m.offshelf"
    path.write_bytes(content[: min(cut, len(content) - 1)])
    assert refusal(path) == DAMAGED


@pytest.mark.slow
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1)
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None
)
def test_mutated_bytes_are_refused_or_change_nothing(
    tmp_path: Path, good: Path, edits: list[tuple[float, int]]
) -> None:
    content = bytearray(good.read_bytes())
    for place, change in edits:
        content[int(place * len(content))] ^= change
    path = tmp_path / "m.offshelf"
    path.write_bytes(content)
    # Only bytes that mean nothing may have been hit, such as attributes in the zip's index.
    with contextlib.suppress(ModelFileError):
        found = load_model(path).head.arrays["weight"]
        np.testing.assert_array_equal(found, made_model().head.arrays["weight"])
    assert [one.name for one in tmp_path.iterdir()] == ["m.offshelf"]
