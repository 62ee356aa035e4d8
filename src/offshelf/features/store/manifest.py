"""The manifest of a feature store, for people and for stores that hold no rows yet.

Nothing depends on it alone: it is made again from what the caller and the parts know.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from offshelf import files, sealed_json
from offshelf.features.store.part_files import FACT_TYPES

# Raised with every change of what a store holds or of how it is written.
SCHEMA = 2
NAME = "manifest.json"
# The first schema stood in no name.
_STORE = re.compile(r"(?:(\d+)-)?[0-9a-f]{32}")


def store_folder(root: Path, identity: dict[str, Any]) -> Path:
    """Return the folder of the store of *identity* under *root*: schema, dash, hash.

    What another schema wrote has another name; it is never read and never an error.

    >>> store_folder(Path("features"), {"layer": "pool5"}).name[:2]
    '2-'
    """
    key = {"schema": SCHEMA, "facts": FACT_TYPES, "identity": identity}
    return root / f"{SCHEMA}-{files.sha256_json(key)[:32]}"


def outdated(root: Path) -> list[Path]:
    """Return the folders of stores under *root* that another schema wrote.

    >>> outdated(Path("no/such/folder"))
    []
    """
    folders = sorted(root.iterdir()) if root.is_dir() else []
    named = [(_STORE.fullmatch(folder.name), folder) for folder in folders if folder.is_dir()]
    return [folder for found, folder in named if found and found[1] != str(SCHEMA)]


def write(folder: Path, identity: dict[str, Any], dimension: int) -> None:
    """Write the manifest.

    Raises:
        OSError: it cannot be written.
    """
    document = {"schema": SCHEMA, "identity": identity, "dimension": dimension}
    sealed_json.write(folder / NAME, document)


def read(folder: Path) -> dict[str, Any] | None:
    """Return the manifest in *folder*, None where there is none; a damaged one is set aside."""
    document = sealed_json.read(folder / NAME)
    if document is None:
        return None
    dimension = document.get("dimension")
    if type(dimension) is int and dimension > 0 and isinstance(document.get("identity"), dict):
        return document
    sealed_json.set_aside(folder / NAME)
    return None


def read_dimension(folder: Path, identity: dict[str, Any]) -> int | None:
    """Return the dimension that the manifest in *folder* states, None where it states none.

    A manifest of other features than *identity* is set aside.
    """
    document = read(folder)
    if document is None:
        return None
    if document["identity"] == identity:
        return int(document["dimension"])
    sealed_json.set_aside(folder / NAME)
    return None
