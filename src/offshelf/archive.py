"""The outer shape of a model file: a zip of one manifest, one tensor file and PNG images.

Reading trusts nothing: number, names and unpacked sizes of the members are bounded
before one byte is unpacked, and each member's sha256 is checked.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.errors import ModelFileError

MANIFEST = "manifest.json"
TENSORS = "head.safetensors"
MAX_MEMBERS = 64
MAX_MANIFEST_BYTES = 64 * 2**20
MAX_TENSOR_BYTES = 4 * 2**30
MAX_PICTURE_BYTES = 32 * 2**20
MAX_PICTURE_SIDE = 4096
# A fixed date makes two writes of the same model the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


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

    members = {TENSORS: save({k: np.ascontiguousarray(v) for k, v in tensors.items()})}
    members |= {_picture_name(i): _png(picture) for i, picture in enumerate(pictures)}
    hashes = {name: files.sha256_bytes(content) for name, content in members.items()}
    document = json.dumps(dict(manifest) | {"sha256": hashes}, indent=1, allow_nan=False)
    try:
        with (
            files.atomic_path(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as bundle,
        ):
            for name, content in [(MANIFEST, document.encode()), *members.items()]:
                bundle.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path


def read(
    path: Path, schema: int
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], list[NDArray[np.uint8]]]:
    """Return manifest, tensors and pictures of a model file.

    Raises:
        ModelFileError: it is missing, no archive, damaged, too large, or of another schema.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            _check_members(path, bundle)
            manifest = _manifest(path, bundle.read(MANIFEST), schema)
            contents = {n: bundle.read(n) for n in bundle.namelist() if n != MANIFEST}
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such model file") from None
    except IsADirectoryError:
        raise ModelFileError(f"{path}: is a folder, not a model file") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(f"{path}: is damaged or no .offshelf model file") from error
    _check_hashes(path, manifest, contents)
    pictures = [_picture(path, contents[name]) for name in sorted(contents) if name != TENSORS]
    return manifest, _tensors(path, contents[TENSORS]), pictures


def _check_members(path: Path, bundle: zipfile.ZipFile) -> None:
    members = bundle.infolist()
    names = [member.filename for member in members]
    count = len(members) - 2
    expected = {MANIFEST, TENSORS, *(_picture_name(i) for i in range(count))}
    if len(names) > MAX_MEMBERS or set(names) != expected or len(names) != len(expected):
        raise ModelFileError(f"{path}: holds other files than a model file does")
    for member in members:
        limit = {MANIFEST: MAX_MANIFEST_BYTES, TENSORS: MAX_TENSOR_BYTES}
        if member.file_size > limit.get(member.filename, MAX_PICTURE_BYTES):
            raise ModelFileError(f"{path}: {member.filename} is too large")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ModelFileError(f"{path}: {member.filename} is compressed, which is not allowed")


def _manifest(path: Path, content: bytes, schema: int) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its manifest is no JSON") from error
    if not isinstance(manifest, dict):
        raise ModelFileError(f"{path}: its manifest is no JSON object")
    if manifest.get("schema") != schema:
        raise ModelFileError(
            f"{path}: has schema {manifest.get('schema')!r}, this offshelf reads {schema}; "
            "use the version of offshelf that wrote it"
        )
    return manifest


def _check_hashes(path: Path, manifest: dict[str, Any], contents: dict[str, bytes]) -> None:
    expected = manifest.get("sha256")
    found = {name: files.sha256_bytes(content) for name, content in contents.items()}
    if expected != found:
        raise ModelFileError(f"{path}: its parts do not match the hashes in its manifest")


def _tensors(path: Path, content: bytes) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelFileError(f"{path}: its {TENSORS} cannot be read ({error})") from error


def _picture_name(number: int) -> str:
    return f"sample-{number:02d}.png"


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _picture(path: Path, content: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if max(image.size) > MAX_PICTURE_SIDE or image.mode != "RGB":
                raise ModelFileError(f"{path}: a test image is not a small RGB picture")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ModelFileError(f"{path}: a test image cannot be read") from error
