"""The house rules, enforced: who may import whom, what may load, how big, what is never used.

Each checker takes a folder, so that it is also run on small made-up sources that break it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "offshelf"

# A part may import parts of earlier rungs and itself; neighbours do not know each other.
RUNGS = (
    {"errors", "text", "version"},
    {"forks", "locks"},
    {"checks", "files", "home", "interrupt", "machine_code", "progress", "file_stamps"},
    {"sealed_json", "cache", "resample"},
    {"data", "backbones"},
    {"engine"},
    {"features"},
    {"heads"},
    {"finetune"},
    {"estimator"},
    {"model_file"},
    {"prediction"},
    {"evaluate"},
    {"report"},
    {"jobs"},
    {"cli", "serve"},
)
RUNG_OF = {part: number for number, rung in enumerate(RUNGS) for part in rung}
HEAVY = {"torch", "torchvision", "timm", "openvino", "matplotlib", "sklearn", "pandas", "pyarrow"}
# The engines are chosen by name and then imported; the estimators inherit from scikit-learn.
MAY_LOAD = {
    "engine/torch_engine/reference.py": {"torch"},
    "engine/openvino_engine/cpu_engine.py": {"openvino"},
    "engine/torch_engine/tapped_network.py": {"torch"},
    "engine/torch_engine/grey_convolution.py": {"torch"},
    "estimator.py": {"sklearn"},
}
MODULE_LINES, FUNCTION_LINES, PARAMETERS, CONSTRUCTOR_PARAMETERS = 350, 50, 9, 8
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}
PICKLES = {"joblib", "pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def part_of(name: str) -> str:
    return name.split("/", maxsplit=1)[0].removesuffix(".py")


def imported(name: str, node: ast.AST) -> Iterator[str]:
    """Dotted names that *node*, in the module file *name*, imports; relative ones resolved."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = ["offshelf", *name.split("/")[:-1]]
        base = above[: len(above) + 1 - node.level] if node.level else []
        prefix = ".".join([*base, *filter(None, [node.module])])
        yield from (f"{prefix}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func).split(".")[-1]
        if called in {"import_module", "__import__"}:
            yield str(node.args[0].value)


def breaks_order(root: Path) -> list[str]:
    """Imports that go up, or across to a neighbour, wherever they stand in a module."""
    found = []
    for name, tree in modules(root):
        # The package's own face names everything lazily.
        if name in {"__init__.py", "__main__.py"}:
            continue
        here = part_of(name)
        if here not in RUNG_OF:
            found.append(f"{name}: {here} has no rung in RUNGS")
            continue
        for node in ast.walk(tree):
            for target in imported(name, node):
                top, _, rest = target.partition(".")
                there = rest.split(".")[0]
                if top != "offshelf" or there == here:
                    continue
                if RUNG_OF.get(there, len(RUNGS)) >= RUNG_OF[here]:
                    found.append(f"{name}:{node.lineno}: {here} imports {there or 'offshelf'}")
    return found


def run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes outside functions and outside ``if TYPE_CHECKING``."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Function | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def loads_heavy(root: Path) -> list[str]:
    """Modules that load a heavy library when they are imported, not when they are used."""
    return [
        f"{name}:{node.lineno}: loads {top}"
        for name, tree in modules(root)
        for node in run_at_import(tree)
        for top in {target.split(".")[0] for target in imported(name, node)}
        if top in HEAVY - MAY_LOAD.get(name, set())
    ]


def too_big(root: Path) -> list[str]:
    """Modules, functions and parameter lists over the limits."""
    found = []
    for path in sorted(root.rglob("*.py")):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > MODULE_LINES:
            found.append(f"{name}: {lines} lines, at most {MODULE_LINES}")
        for node in functions(ast.parse(text)):
            where = f"{name}:{node.lineno}: {node.name}"
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{where} has {lines} lines, at most {FUNCTION_LINES}")
            taken = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
            built = node.name == "__init__"
            taken, limit = (taken - 1, CONSTRUCTOR_PARAMETERS) if built else (taken, PARAMETERS)
            if taken > limit:
                found.append(f"{where} takes {taken} parameters, at most {limit}")
    return found


def vague_names(root: Path) -> list[str]:
    """Modules and folders whose name says nothing."""
    return [
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.stem.lower() in VAGUE
    ]


def left_out(root: Path) -> list[str]:
    """Folders of modules that are no package: they would not ship."""
    folders = {path.parent for path in root.rglob("*.py")} - {root}
    missing = (folder for folder in folders if not (folder / "__init__.py").is_file())
    return sorted(f"{folder.relative_to(root).as_posix()}: no __init__.py" for folder in missing)


def unsafe(root: Path) -> list[str]:
    """Pickle in any form, torch.load without weights_only=True, and assert statements."""
    return [
        f"{name}:{node.lineno}: {reason}"
        for name, tree in modules(root)
        for node in ast.walk(tree)
        if (reason := _unsafe_reason(name, node))
    ]


def _unsafe_reason(name: str, node: ast.AST) -> str:
    if isinstance(node, ast.Assert):
        return "assert statement; raise an OffshelfError"
    for target in imported(name, node):
        if target.split(".")[0] in PICKLES and target != "pickle.UnpicklingError":
            return f"imports {target}"
    return _unsafe_call(node) if isinstance(node, ast.Call) else ""


def _unsafe_call(node: ast.Call) -> str:
    called = ast.unparse(node.func)
    flags = {
        keyword.arg: keyword.value.value
        for keyword in node.keywords
        if isinstance(keyword.value, ast.Constant)
    }
    if called.endswith("joblib.load") or called == "torch.save":
        return f"calls {called}"
    if flags.get("allow_pickle") is True or flags.get("weights_only") is False:
        return f"{called} may unpickle"
    if called == "torch.load" and flags.get("weights_only") is not True:
        return "torch.load without weights_only=True"
    return ""


def undocumented(root: Path) -> list[str]:
    """Modules, public functions, classes and methods without a docstring."""
    found = []
    for name, tree in modules(root):
        if ast.get_docstring(tree) is None:
            found.append(f"{name}: no module docstring")
        holders = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
        for holder in holders:
            if isinstance(holder, ast.ClassDef) and holder.name.startswith("_"):
                continue
            for node in holder.body:
                if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                    continue
                marks = {ast.unparse(mark).split(".")[-1] for mark in node.decorator_list}
                if not marks & {"overload", "setter"} and ast.get_docstring(node) is None:
                    found.append(f"{name}:{node.lineno}: {node.name} has no docstring")
    return found


# Somebody's own folders, wherever this checkout is; and hosts that packages come from.
_PERSONAL = re.compile(r"(?<![\w.:/$}])/(?:root|home|Users|opt|work|mnt)/[\w.]")
_HOSTS = re.compile(r"\b(?:py" r"pi|python" r"hosted|npm" r"js)\.(?:org|com)\b")
_TEXTS = (
    "*.md",
    "*.toml",
    "*.txt",
    "*.cfg",
    "*.yml",
    "*.yaml",
    "Makefile",
    ".gitignore",
    ".ci/run",
)
_FOLDERS = ("src", "tests", "docs", "benchmarks", "examples")


def names_a_machine(root: Path) -> list[str]:
    """Lines of the project's own text that name a machine's paths or a registry's host."""
    files = {path for pattern in _TEXTS for path in root.glob(pattern)}
    for folder in _FOLDERS:
        for pattern in ("*.py", "*.pyi", "*.md", "*.txt", "*.json", "*.html", "*.sh", "*.js"):
            files.update((root / folder).rglob(pattern))
    own = [text for text in (str(root), str(Path.home())) if len(text) > 1]
    return [
        f"{path.relative_to(root).as_posix()}:{number}: {line.strip()[:80]}"
        for path in sorted(files)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _PERSONAL.search(line) or _HOSTS.search(line) or any(f"{text}/" in line for text in own)
    ]


Checker = Callable[[Path], list[str]]
CHECKERS: tuple[Checker, ...] = (
    breaks_order,
    loads_heavy,
    too_big,
    vague_names,
    left_out,
    unsafe,
    undocumented,
)


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_the_source_keeps_the_rule(checker: Checker) -> None:
    assert checker(SOURCE) == []


def test_project_text_names_no_machine() -> None:
    assert names_a_machine(ROOT) == []


ARGUMENTS = ", ".join(f"a{number}" for number in range(10))
BROKEN: list[tuple[Checker, str, str, str]] = [
    (breaks_order, "errors.py", "import offshelf.home", "errors imports home"),
    (breaks_order, "files.py", "from offshelf import home", "files imports home"),
    (breaks_order, "data/a.py", "from offshelf.backbones.spec import X", "data imports backbones"),
    (breaks_order, "data/a.py", "from .. import cli", "data imports cli"),
    (breaks_order, "data/deep/a.py", "from ...engine import base", "data imports engine"),
    (
        breaks_order,
        "heads/a.py",
        "def f():\n    from ..model_file import load",
        "heads imports model_file",
    ),
    (breaks_order, "jobs/a.py", "if TYPE_CHECKING:\n    import offshelf.cli", "jobs imports cli"),
    (breaks_order, "cli/a.py", "import_module('offshelf.serve')", "cli imports serve"),
    (breaks_order, "cli/a.py", "from offshelf import fit", "cli imports fit"),
    (breaks_order, "cli/a.py", "import offshelf", "cli imports offshelf"),
    (breaks_order, "cli/a.py", "from offshelf import __version__", "cli imports __version__"),
    (breaks_order, "spare/a.py", "", "spare has no rung"),
    (loads_heavy, "heads/a.py", "import sklearn.svm", "loads sklearn"),
    (loads_heavy, "heads/a.py", "try:\n    from torch import nn\nexcept X: pass", "loads torch"),
    (loads_heavy, "heads/a.py", "class A:\n    import pandas", "loads pandas"),
    (loads_heavy, "engine/torch_engine/reference.py", "import openvino", "loads openvino"),
    (too_big, "a.py", "x = 1\n" * 351, "a.py: 351 lines, at most 350"),
    (too_big, "a.py", "def f():\n" + "    x = 1\n" * 50, "f has 51 lines, at most 50"),
    (too_big, "a.py", f"def f({ARGUMENTS}): ...", "f takes 10 parameters, at most 9"),
    (too_big, "a.py", f"def __init__({ARGUMENTS}): ...", "__init__ takes 9 parameters, at most 8"),
    (vague_names, "data/utils.py", "", "data/utils.py"),
    (vague_names, "Common/a.py", "", "Common"),
    (left_out, "data/a.py", "", "data: no __init__.py"),
    (unsafe, "a.py", "assert x", "assert statement"),
    (unsafe, "a.py", "def f():\n    import pickle", "imports pickle"),
    (unsafe, "a.py", "from joblib import load", "imports joblib.load"),
    (unsafe, "a.py", "sklearn.externals.joblib.load(p)", "calls sklearn.externals.joblib.load"),
    (unsafe, "a.py", "torch.load(p)", "torch.load without weights_only=True"),
    (unsafe, "a.py", "torch.load(p, weights_only=False)", "torch.load may unpickle"),
    (unsafe, "a.py", "np.load(p, allow_pickle=True)", "np.load may unpickle"),
    (undocumented, "a.py", "x = 1", "no module docstring"),
    (undocumented, "a.py", '"""A."""\ndef f(): ...', "f has no docstring"),
    (undocumented, "a.py", '"""A."""\nclass A: ...', "A has no docstring"),
    (undocumented, "a.py", '"""A."""\nclass A:\n  """A."""\n  def f(): ...', "f has no docstring"),
    (names_a_machine, "docs/a.md", "see /" + "root/models", "docs/a.md:1"),
    (names_a_machine, "notes.txt", "from https://py" + "pi.org/simple", "notes.txt:1"),
]
KEPT: list[tuple[Checker, str, str]] = [
    (breaks_order, "data/a.py", "from . import table\nfrom offshelf.files import write_json"),
    (breaks_order, "prediction.py", "from offshelf.version import __version__\nimport torch.nn"),
    (loads_heavy, "heads/a.py", "def f():\n    import sklearn"),
    (loads_heavy, "heads/a.py", "if TYPE_CHECKING:\n    import torch"),
    (too_big, "a.py", "def f():\n" + "    x = 1\n" * 49),
    (unsafe, "a.py", "from pickle import UnpicklingError"),
    (left_out, "data/__init__.py", ""),
    (unsafe, "a.py", '"""No pickle, no assert."""\ntorch.load(p, weights_only=True)'),
    (undocumented, "a.py", '"""A."""\ndef _f(): ...\nclass _A: ...'),
    (names_a_machine, "docs/a.md", "https://example.org/home/page and /tmp/scene and ~/.cache"),
]


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_text(text)


@pytest.mark.parametrize(("checker", "name", "text", "expected"), BROKEN)
def test_a_broken_rule_is_found(
    tmp_path: Path, checker: Checker, name: str, text: str, expected: str
) -> None:
    _write(tmp_path / "source", name, text)
    found = checker(tmp_path / "source")
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(("checker", "name", "text"), KEPT)
def test_a_kept_rule_is_silent(tmp_path: Path, checker: Checker, name: str, text: str) -> None:
    _write(tmp_path / "source", name, text)
    assert checker(tmp_path / "source") == []
