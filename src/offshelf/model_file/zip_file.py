"""The outer shape of a model file: a zip of one manifest, one tensor file and PNG images.

Reading trusts nothing: the index of the zip, then number, names and sizes of the members
are bounded before a member is read, and each member's sha256 is checked before it is
parsed. Nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.errors import ModelFileError
from offshelf.text import json_text, shown

MANIFEST = "manifest.json"
TENSORS = "head.safetensors"
MAX_PICTURES = 16
MAX_INDEX_BYTES = 16 * 2**10
MAX_MANIFEST_BYTES = 64 * 2**20
MAX_TENSOR_BYTES = 4 * 2**30
MAX_PICTURE_BYTES = 8 * 2**20
MAX_PICTURE_SIDE = 1024
# A fixed date makes two writes of the same model the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_END, _END_64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENDS = 98  # bytes that the last records of a zip take, those for large files included
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_RGB_8_BIT = (8, 2)

Contents = tuple[dict[str, Any], dict[str, NDArray[Any]], list[NDArray[np.uint8]]]


def check_target(path: Path) -> None:
    """Refuse a place where no model file can or should be written, before any work.

    Raises:
        ModelFileError: it is a folder, or a file that is no model file.

    >>> check_target(Path("."))
    Traceback (most recent call last):
    ...
    offshelf.errors.ModelFileError: .: is a folder; name a file such as my.offshelf
    """
    if refusal := files.target_refusal(path, "model file", "my.offshelf", [b"PK\x03\x04"]):
        raise ModelFileError(refusal)


def write(
    path: Path,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    pictures: Sequence[NDArray[np.uint8]],
) -> Path:
    """Write the archive to *path*, whole or not at all, and return *path*.

    Raises:
        ModelFileError: the file cannot be written there.
    """
    from safetensors.numpy import save

    check_target(path)
    members = {TENSORS: save({k: np.ascontiguousarray(v) for k, v in tensors.items()})}
    members |= {_picture_name(i): _png(picture) for i, picture in enumerate(pictures)}
    hashes = {name: files.sha256_bytes(content) for name, content in members.items()}
    document = json_text(dict(manifest) | {"sha256": hashes}, indent=1)
    try:
        with (
            files.atomic_path(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as bundle,
        ):
            for name, content in [(MANIFEST, document.encode()), *members.items()]:
                bundle.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    except (OSError, ValueError) as error:
        raise ModelFileError(files.unwritable(path, error)) from error
    return path


def read(path: Path, schemas: Sequence[int]) -> Contents:
    """Return manifest, tensors and pictures of a model file.

    Raises:
        ModelFileError: it is missing, no archive, damaged, too large, or of another schema.
    """
    return parsed(path, *read_members(path, schemas))


def read_members(path: Path, schemas: Sequence[int]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and the bytes of every member, which have the hashes stated there.

    Raises:
        ModelFileError: as for :func:`read`.
    """
    name = shown(path)
    try:
        with _regular(path) as handle:
            _check_index(name, handle)
            with zipfile.ZipFile(handle) as bundle:
                _check_members(name, bundle)
                manifest = _manifest(name, bundle.read(MANIFEST), schemas)
                contents = {n: bundle.read(n) for n in bundle.namelist()}
    except ModelFileError:
        raise
    except FileNotFoundError:
        raise ModelFileError(
            f"{name}: no such model file; 'offshelf fit DATA --out {name}' makes one"
        ) from None
    except PermissionError as error:
        raise ModelFileError(f"{name}: cannot be read (permission denied)") from error
    # What a made-up zip can break in the standard library is not listed anywhere.
    except Exception as error:
        raise ModelFileError(f"{name}: is damaged or no .offshelf model file") from error
    _check_hashes(name, manifest, contents)
    return manifest, contents


def parsed(path: Path, manifest: dict[str, Any], contents: Mapping[str, bytes]) -> Contents:
    """Return manifest, tensors and pictures from the members of a model file.

    Raises:
        ModelFileError: the tensors or a picture cannot be read.
    """
    name = shown(path)
    pictures = [_picture(name, contents[n]) for n in sorted(contents) if n.endswith(".png")]
    return manifest, _tensors(name, contents[TENSORS]), pictures


def _regular(path: Path) -> BinaryIO:
    # A pipe must not hang the open.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    number = os.open(path, flags)
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise ModelFileError(
            f"{shown(path)}: is {what}, not a model file; a .offshelf file comes first, then images"
        )
    return os.fdopen(number, "rb")


def _check_index(name: str, handle: BinaryIO) -> None:
    """Bound the zip's index before it is parsed: an entry costs more memory than disk."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(max(0, size - _ENDS))
    tail = handle.read().rjust(_ENDS, b"\0")
    if tail[76:80] != _END or tail[-2:] != b"\0\0":
        raise ModelFileError(f"{name}: is damaged or no .offshelf model file")
    (index,) = struct.unpack_from("<L", tail, 76 + 12)
    if tail[56:60] == _LOCATOR:
        (at,) = struct.unpack_from("<Q", tail, 56 + 8)
        if not tail.startswith(_END_64) or at != size - _ENDS:
            raise ModelFileError(f"{name}: is damaged or no .offshelf model file")
        (index,) = struct.unpack_from("<Q", tail, 40)
    if index > MAX_INDEX_BYTES:
        raise ModelFileError(f"{name}: holds other files than a model file does")


def _check_members(name: str, bundle: zipfile.ZipFile) -> None:
    members = bundle.infolist()
    names = [member.filename for member in members]
    count = min(len(members) - 2, MAX_PICTURES)
    expected = {MANIFEST, TENSORS, *(_picture_name(i) for i in range(count))}
    if set(names) != expected or len(names) != len(expected):
        raise ModelFileError(f"{name}: holds other files than a model file does")
    for member in members:
        limit = {MANIFEST: MAX_MANIFEST_BYTES, TENSORS: MAX_TENSOR_BYTES}
        if member.file_size > limit.get(member.filename, MAX_PICTURE_BYTES):
            raise ModelFileError(f"{name}: {member.filename} is too large")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ModelFileError(f"{name}: {member.filename} is compressed, which is not allowed")


def _manifest(name: str, content: bytes, schemas: Sequence[int]) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name}: its manifest is no JSON") from error
    if not isinstance(manifest, dict):
        raise ModelFileError(f"{name}: its manifest is no JSON object")
    found = manifest.get("schema")
    if type(found) is not int:
        raise ModelFileError(f"{name}: its manifest states no schema")
    if found not in schemas:
        raise ModelFileError(
            f"{name}: has schema {str(found)[:12]}, this offshelf reads "
            f"{' and '.join(map(str, schemas))}; "
            "use the version of offshelf that wrote it"
        )
    return manifest


def _check_hashes(name: str, manifest: dict[str, Any], contents: dict[str, bytes]) -> None:
    found = {n: files.sha256_bytes(one) for n, one in contents.items() if n != MANIFEST}
    if manifest.get("sha256") != found:
        raise ModelFileError(f"{name}: its parts do not match the hashes in its manifest")


def _tensors(name: str, content: bytes) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelFileError(f"{name}: its {TENSORS} cannot be read") from error


def _picture_name(number: int) -> str:
    return f"sample-{number:02d}.png"


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _picture(name: str, content: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    # Looked up in the header, so that a picture that claims to be huge reaches no decoder.
    head = content[len(_PNG_START) : len(_PNG_START) + 10].ljust(10, b"\0")
    width, height, *kind = struct.unpack(">LLBB", head)
    small = max(width, height) <= MAX_PICTURE_SIDE and tuple(kind) == _RGB_8_BIT
    if not content.startswith(_PNG_START) or not small:
        raise ModelFileError(f"{name}: a test image is not a small RGB picture")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            return np.asarray(image.convert("RGB"))
    # What damaged bytes can break in a decoder is not listed anywhere.
    except Exception as error:
        raise ModelFileError(f"{name}: a test image cannot be read") from error
