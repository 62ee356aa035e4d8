"""Identification of weights files by their hash, and the spec of an unknown one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from offshelf.backbones.specification.spec import BackboneSpec, InputSpec, WeightsSpec
from offshelf.backbones.weights_file import places, tensors
from offshelf.errors import WeightsError
from offshelf.files import sha256_file


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
    folder = places.own_folder(backbone, cache_dir)
    added = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        note = places.read_note(path)
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
