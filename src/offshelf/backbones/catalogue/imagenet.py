"""The names of the 1,000 classes of ImageNet-1k, in the order of every network's logits.

They are torchvision's, asked of the installed package: its source file is read where that
is possible, because importing torchvision loads torch, which takes seconds.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

from offshelf.backbones.construct.torchvision_shim import import_torchvision

CLASSES = 1000
_LIST = "_IMAGENET_CATEGORIES"


@functools.cache
def class_names() -> tuple[str, ...]:
    """Return the names by class number; no two are the same.

    >>> names = class_names()
    >>> names[281], names[970], len(set(names))
    ('tabby', 'alp', 1000)
    """
    return _read_source() or _ask_torchvision()


def _read_source() -> tuple[str, ...]:
    """Return the list as it stands in torchvision's source, () where it is not found."""
    package = importlib.util.find_spec("torchvision")
    folders = (package.submodule_search_locations if package else None) or []
    for folder in folders:
        path = Path(folder) / "models" / "_meta.py"
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in tree.body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == _LIST:
                    names = tuple(ast.literal_eval(node.value))
                    if len(names) == CLASSES and all(isinstance(name, str) for name in names):
                        return names
        except (OSError, ValueError, SyntaxError):
            continue
    return ()


def _ask_torchvision() -> tuple[str, ...]:
    weights = import_torchvision().models.get_model_weights("resnet18")
    return tuple(weights.DEFAULT.meta["categories"])
