"""The weights files that are known, and the places where they may be on this machine.

The places in the order of the search: offshelf's weights folder, the folders in
``OFFSHELF_WEIGHTS_PATH``, the package that carries the file, torch's cache, the Hugging Face
cache. Nothing here touches the network.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import sealed_json
from offshelf.backbones.specification.spec import BackboneSpec, InputSpec, WeightsSpec
from offshelf.backbones.weights_file import tensors
from offshelf.cache import weights_folder
from offshelf.errors import WeightsError
from offshelf.files import sha256_file
from offshelf.regular_file import read_regular

EXTRA_FOLDERS = "OFFSHELF_WEIGHTS_PATH"
_HUB_ADDRESS = re.compile(r"https://huggingface\.co/(?P<hub>.+?)/resolve/[^/]+/(?P<file>.+)")


@dataclass(frozen=True)
class Place:
    """One path where a weights file is looked for.

    Attributes:
        origin: ``weights folder``, ``package``, ``torch cache`` or ``huggingface cache``.
        path: the file, which need not exist.
    """

    origin: str
    path: Path


def own_folder(backbone: BackboneSpec, cache_dir: str | Path | None = None) -> Path:
    """Return the folder of a backbone's files that were added or fetched."""
    return weights_folder(cache_dir) / backbone.name


def places(
    backbone: BackboneSpec, spec: WeightsSpec, cache_dir: str | Path | None = None
) -> Iterator[Place]:
    """Yield every path where the file of *spec* may be, best first."""
    yield Place("weights folder", own_folder(backbone, cache_dir) / spec.file_name)
    for folder in extra_folders():
        yield Place("weights folder", folder / spec.file_name)
        yield Place("weights folder", folder / backbone.name / spec.file_name)
    for folder in package_folders(spec.package):
        yield Place("package", folder / "models" / spec.file_name)
    yield Place("torch cache", torch_cache() / spec.file_name)
    cached = _hub_cached(spec.url)
    if cached is not None:
        yield Place("huggingface cache", cached)


def find(
    backbone: BackboneSpec, spec: WeightsSpec, cache_dir: str | Path | None = None
) -> Iterator[Place]:
    """Yield the places of :func:`places` where a file is."""
    return (place for place in places(backbone, spec, cache_dir) if place.path.is_file())


def searched(
    backbone: BackboneSpec, spec: WeightsSpec, cache_dir: str | Path | None = None
) -> list[str]:
    """Return the places of a search in words, for the message that nothing was found."""
    words = [str(own_folder(backbone, cache_dir)), *map(str, extra_folders())]
    if spec.package:
        absent = "" if package_folders(spec.package) else " (not installed)"
        words.append(f"the package {spec.package}{absent}")
    words.append(str(torch_cache()))
    if _HUB_ADDRESS.fullmatch(spec.url):
        words.append("the Hugging Face cache")
    return words


def extra_folders() -> list[Path]:
    """Return the read-only folders that the environment names."""
    listed = os.environ.get(EXTRA_FOLDERS, "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in listed if folder]


def package_folders(package: str) -> list[Path]:
    """Return the folders of an installed package, without importing it."""
    found = importlib.util.find_spec(package) if package else None
    return [Path(folder) for folder in (found and found.submodule_search_locations) or ()]


def torch_cache() -> Path:
    """Return the folder of torch's downloads, by torch's own rules but without torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or str(Path(cache) / "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def stated_hash(path: Path) -> str:
    """Return the sha256 that is on record for a file of no published hash, or "".

    The record is offshelf's note beside the file, or the name under which the Hugging
    Face cache keeps its content.
    """
    noted = read_note(path).get("sha256", "")
    content = path.resolve().name
    return str(noted) or (content if re.fullmatch("[0-9a-f]{64}", content) else "")


def note_path(path: Path) -> Path:
    """Return the JSON file that says what the weights file at *path* is."""
    return path.with_name(path.name + ".json")


def read_note(path: Path) -> dict[str, Any]:
    """Return the note beside a weights file, empty where there is none.

    A damaged one is set aside: a good file must not be judged by a wrong hash.
    """
    place = note_path(path)
    note = sealed_json.sealed(place)
    if note is not None:
        return note
    content, plain = b"", None
    try:
        content = read_regular(place, sealed_json.MAX_BYTES)
        plain = json.loads(content)
    except (OSError, ValueError):
        pass
    # Older notes had no seal; a file that is no note of offshelf stays where it is.
    if isinstance(plain, dict) and sealed_json.SEAL not in plain:
        return plain
    if f'"{sealed_json.SEAL}"'.encode() in content:
        again = "what it said of the weights file is lost: 'offshelf weights add' it again"
        sealed_json.set_aside(place, again)
    return {}


def _hub_cached(url: str) -> Path | None:
    address = _HUB_ADDRESS.fullmatch(url)
    if address is None:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    cached = try_to_load_from_cache(address["hub"], address["file"])
    return Path(cached) if isinstance(cached, str) else None


def preferred(backbone: BackboneSpec) -> WeightsSpec:
    """Return the best known weights, a plain default where none were ever published."""
    default = WeightsSpec(tag="default", file_name="", input=InputSpec(size=224))
    return backbone.weights[0] if backbone.weights else default


def foreign(backbone: BackboneSpec, tag: str, **changes: Any) -> WeightsSpec:
    """Return a spec of a file that the catalogue does not know, preprocessed like the best."""
    blank: dict[str, Any] = {"file_name": "", "sha256": "", "size": 0, "url": "", "package": ""}
    blank |= {"covers": (), "by_order": False, "licence": "not stated"}
    return dataclasses.replace(preferred(backbone), tag=tag, **(blank | changes))


def known(backbone: BackboneSpec, cache_dir: str | Path | None) -> tuple[WeightsSpec, ...]:
    """Return the catalogue's files, then those that a person added without a known hash."""
    catalogued = {spec.file_name for spec in backbone.weights}
    folder = own_folder(backbone, cache_dir)
    added = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        note = read_note(path)
        if note.get("verified") is False and path.name not in catalogued:
            added.append(
                foreign(
                    backbone,
                    path.name,
                    file_name=path.name,
                    sha256=note.get("sha256", ""),
                    size=note.get("size", 0),
                    covers=tuple(note.get("covers", ())),
                )
            )
    return (*backbone.weights, *added)


def weights_file(path: Path, given: str | Path) -> Path:
    """Return *path* if it can be a weights file.

    Raises:
        WeightsError: it is missing, a folder, or of another format; names *given*.
    """
    if not path.is_file():
        what = "a folder, not a weights file" if path.is_dir() else "no such file"
        raise WeightsError(f"{given}: {what}")
    if not tensors.file_format(path):
        raise WeightsError(f"{given}: neither a safetensors nor a torch weights file")
    return path


def content_hash(path: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        WeightsError: the file is unreadable.
    """
    try:
        return sha256_file(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error


def with_hash(specs: Iterable[WeightsSpec], sha256: str) -> WeightsSpec | None:
    """Return the spec whose full hash, or published beginning of it, fits *sha256*."""
    hashed = (spec for spec in specs if spec.sha256)
    return next((spec for spec in hashed if sha256.startswith(spec.sha256)), None)


def described(backbone: BackboneSpec, path: Path, sha256: str) -> WeightsSpec:
    """Return a spec of an unknown file: the best weights' preprocessing, its own content.

    Raises:
        WeightsError: its header is damaged.
    """
    return foreign(
        backbone,
        path.name,
        file_name=path.name,
        sha256=sha256,
        size=path.stat().st_size,
        covers=_covered(backbone, path),
    )


def _covered(backbone: BackboneSpec, path: Path) -> tuple[str, ...]:
    """The top-level parts in a file that ends before the classifier, else ()."""
    logits = dict(backbone.layers).get("logits", "")
    if not logits or tensors.file_format(path) != "safetensors":
        return ()
    parts = {name.partition(".")[0] for name in tensors.tensor_names(path)}
    return () if logits.partition(".")[0] in parts else tuple(sorted(parts))


def accepted(backbone: BackboneSpec, path: Path, sha256: str, unverified: bool) -> WeightsSpec:
    """Return the spec of a file that no hash in the catalogue fits, if it is accepted.

    Raises:
        WeightsError: *unverified* is not given, or the file only claims a known name.
    """
    named = next((spec for spec in backbone.weights if spec.file_name == path.name), None)
    if named is not None and named.sha256:
        raise WeightsError(
            f"{path}: its sha256 {sha256} is not the {named.sha256} of {path.name}: damaged or"
            " changed; fetch it again, or rename it to add it with --unverified"
        )
    if not unverified:
        raise WeightsError(
            f"{path}: its sha256 {sha256} is not known for {backbone.name};"
            " add it with --unverified if you trust it"
        )
    # A published file without a published hash goes by its name, here or at its origin.
    unhashed = (spec for spec in backbone.weights if not spec.sha256)
    names = {spec: {spec.file_name, spec.url.rpartition("/")[2]} for spec in unhashed}
    matching = (spec for spec, its in names.items() if path.name in its)
    return next(matching, None) or described(backbone, path, sha256)
