"""Reading of tensors from a weights file, and detection of its format before that.

Two formats: safetensors, and torch's own (a zip, or the plain pickle that torch wrote
before 2020 and that some publishers still offer), the latter only with
``weights_only=True``: no code in a file is ever run.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from offshelf.errors import WeightsError

if TYPE_CHECKING:
    import torch

Format = Literal["safetensors", "torch", "torch legacy", ""]

# The first bytes of a pickle of torch's magic number.
_LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
_LARGEST_HEADER = 100_000_000
_WRAPPERS = ("state_dict", "model")
# torchvision renamed modules after publishing these files, and still offers the files.
_RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"^(encoder\.layers\.encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"^(encoder\.layers\.encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)


def file_format(path: Path) -> Format:
    """Return the format of a file by its first bytes, "" for anything else.

    Raises:
        WeightsError: the file is missing or unreadable.
    """
    try:
        with path.open("rb") as handle:
            start = handle.read(16)
        if start.startswith(_LEGACY_START):
            return "torch legacy"
        if start.startswith(b"PK\x03\x04"):
            return "torch" if _is_torch_zip(path) else ""
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    length = int.from_bytes(start[:8], "little")
    header = start[8:9] == b"{" and 2 <= length <= min(size - 8, _LARGEST_HEADER)
    return "safetensors" if header else ""


def tensor_names(path: Path) -> tuple[str, ...]:
    """Return the names in a safetensors file, from its header only.

    Raises:
        WeightsError: the header is damaged.
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(min(length, _LARGEST_HEADER)))
        return tuple(name for name in header if name != "__metadata__")
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: damaged: its safetensors header is unreadable") from error


def read_file(path: Path) -> dict[str, torch.Tensor]:
    """Return the named tensors of a weights file, floating point ones as float32.

    Tensors nested under ``state_dict`` or ``model`` are unwrapped, a ``module.`` before
    every name is removed, and names that torchvision changed later are made current.

    Raises:
        WeightsError: the file is damaged, is no weights file, or holds more than tensors.
    """
    found = file_format(path)
    if not found:
        raise WeightsError(f"{path}: neither a safetensors nor a torch weights file")
    loaded = _safetensors(path) if found == "safetensors" else _torch(path, found)
    tensors = _flat(path, loaded)
    return {_current(name): _single(tensor) for name, tensor in tensors.items()}


def _is_torch_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        # Probably cut off: reading it will report the damage.
        return True


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _torch(path: Path, found: Format) -> Any:
    import torch

    try:
        # Only the zip can be mapped into memory.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=found == "torch")
    except Exception as error:
        # torch names this option when it refuses an object that is no tensor.
        if "weights_only" not in str(error):
            raise _damaged(path, error) from error
        raise WeightsError(
            f"{path}: holds Python objects beside tensors, which are never loaded;"
            " save the state dict alone, best as safetensors"
        ) from error


def _damaged(path: Path, error: Exception) -> WeightsError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return WeightsError(f"{path}: damaged or incomplete weights file ({first}); fetch it again")


def _flat(path: Path, loaded: Any) -> dict[str, torch.Tensor]:
    import torch

    while isinstance(loaded, dict):
        inner = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), dict)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, dict) or not loaded:
        raise WeightsError(f"{path}: holds no named tensors")
    odd = [str(name) for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise WeightsError(f"{path}: {odd[0]!r} in it is no tensor; save the state dict alone")
    prefix = "module."
    if all(name.startswith(prefix) for name in loaded):
        return {name[len(prefix) :]: tensor for name, tensor in loaded.items()}
    return loaded


def _current(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name


def _single(tensor: torch.Tensor) -> torch.Tensor:
    # Some publishers store half precision to save space; networks are built in single.
    return tensor.float() if tensor.is_floating_point() else tensor
