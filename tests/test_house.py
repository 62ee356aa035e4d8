"""The house rules, enforced: who may import whom, what may load, how big, what is never used.

Each checker takes a folder, so that it is also run on small made-up sources that break it.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "offshelf"

# Public interfaces, whose parameters people name: (module, function or class) -> parameters.
PUBLIC = {
    ("backbones/backbone.py", "open_backbone"): 9,
    ("feature_extractor.py", "FeatureExtractor"): 12,
    ("estimator.py", "TransferClassifier"): 21,
    ("jobs/explain.py", "explain"): 8,
    ("jobs/explain.py", "explain_images"): 8,
    ("jobs/extract/job.py", "extract_features"): 7,
    ("jobs/fit/job.py", "fit"): 8,
    ("jobs/multilabel/by_labels.py", "fit"): 8,
    ("jobs/multilabel/label_fit.py", "fit_labels"): 8,
    ("jobs/visualise/top_images.py", "top_images"): 7,
}
HEAVY = {"torch", "torchvision", "timm", "openvino", "matplotlib", "sklearn", "pandas", "pyarrow"}
# The engines are chosen by name and then imported; the estimators inherit from scikit-learn.
MAY_LOAD = {
    "engine/torch_engine/reference.py": {"torch"},
    "engine/openvino_engine/cpu_engine.py": {"openvino"},
    "engine/torch_engine/tapped_network.py": {"torch"},
    "estimator.py": {"sklearn"},
    "feature_extractor.py": {"sklearn"},
}
MODULE_LINES, FUNCTION_LINES, PARAMETERS = 350, 50, 6
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}
PICKLES = {"joblib", "pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root).as_posix(), parsed(path)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


Rungs = tuple[frozenset[str], ...]


def part_of(name: str) -> str:
    return name.split("/", maxsplit=1)[0].removesuffix(".py")


def house(text: str) -> dict[str, Rungs]:
    """The list in CONTRIBUTING: ``offshelf`` or a part -> its rungs, the lowest first."""
    block = text[text.index("    offshelf:") :].split("\n\n", maxsplit=1)[0]
    lines = re.sub(r"\n {8,}", " ", block).splitlines()
    found = dict(line.strip().split(":") for line in lines)
    return {
        name: tuple(frozenset(map(str.strip, rung.split(","))) for rung in rungs.split("<"))
        for name, rungs in found.items()
    }


HOUSE = house((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def rung_of(rungs: Rungs, name: str) -> int | None:
    return next((number for number, rung in enumerate(rungs) if name in rung), None)


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


@functools.cache
def own_imports(root: Path) -> dict[str, set[str]]:
    """Module file -> the module files of the house that it imports, wherever it does."""
    files = {path.relative_to(root).as_posix() for path in root.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, tree in modules(root):
        # The package's own face names everything lazily.
        if name in {"__init__.py", "__main__.py"}:
            continue
        targets = (target for node in ast.walk(tree) for target in imported(name, node))
        found[name] = {file for target in targets for file in _file_of(target, files)} - {name}
    return found


def _file_of(target: str, files: set[str]) -> list[str]:
    """The file of a dotted name, which may be of something in a module; the names of none too."""
    top, *parts = target.split(".")
    if top != "offshelf":
        return []
    for end in range(len(parts), 0, -1):
        stem = "/".join(parts[:end])
        if (file := f"{stem}.py") in files or (file := f"{stem}/__init__.py") in files:
            return [file]
    return [f"{parts[0] if parts else 'offshelf'}.py"]


def breaks_order(root: Path) -> list[str]:
    """Imports of a part or of a room in it that go up, or across to a neighbour."""
    found = []
    for name, targets in own_imports(root).items():
        here = places(name)
        found += [f"{name}: {place} is not in the list of CONTRIBUTING" for place in unlisted(here)]
        for target in sorted(targets):
            there = places(target)
            both = next((pair for pair in zip(here, there, strict=False) if len(set(pair)) > 1), ())
            if both and not below(*both):
                found.append(f"{name}: {both[0]} imports {both[1]}")
    return found


def places(name: str) -> list[str]:
    """The part and the room in it that a module file belongs to, as far as there are such."""
    *folders, _ = name.split("/")
    return [part_of(name), *(["/".join(folders[:2])] if len(folders) > 1 else [])]


def unlisted(here: list[str]) -> list[str]:
    return [place for place in here if rung_of(*_list_of(place)) is None]


def below(here: str, there: str) -> bool:
    mine, theirs = rung_of(*_list_of(here)), rung_of(*_list_of(there))
    return mine is not None and theirs is not None and theirs < mine


def _list_of(place: str) -> tuple[Rungs, str]:
    part, _, room = place.partition("/")
    return (HOUSE.get(part, ()), room) if room else (HOUSE["offshelf"], part)


def circles(root: Path) -> list[str]:
    """Files that import one another round a circle, and so rooms and modules of a part."""
    files = own_imports(root)
    rooms: dict[str, set[str]] = {}
    for name, targets in files.items():
        there = rooms.setdefault(_room(name), set())
        there |= {_room(target) for target in targets} - {_room(name)}
    return sorted({*_circles(files), *_circles(rooms)})


def _room(name: str) -> str:
    return "/".join(name.split("/")[:2]) if name.count("/") > 1 else name


def _circles(graph: dict[str, set[str]]) -> list[str]:
    reached = {name: _reached(graph, name) for name in graph}
    together = (
        sorted(other for other in there if name in reached.get(other, ()))
        for name, there in reached.items()
        if name in there
    )
    return [f"{', '.join(circle)} import one another" for circle in together]


def _reached(graph: dict[str, set[str]], name: str) -> set[str]:
    found, waiting = set[str](), [name]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def named_twice(root: Path) -> list[str]:
    """File names that stand in several folders; a command and its job share theirs."""
    by_name: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if path.name not in {"__init__.py", "job.py"} and not name.startswith("cli/commands/"):
            by_name.setdefault(path.name, []).append(name)
    return [f"{', '.join(names)}: one name" for names in by_name.values() if len(names) > 1]


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
    """Modules and functions over the limits."""
    found = []
    for path in sorted(root.rglob("*.py")):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > MODULE_LINES:
            found.append(f"{name}: {lines} lines, at most {MODULE_LINES}")
        for node in functions(parsed(path)):
            where = f"{name}:{node.lineno}: {node.name}"
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{where} has {lines} lines, at most {FUNCTION_LINES}")
    return found


def signatures(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Name of each function, or of a class for its constructor, and how many parameters."""
    built = {
        node: holder.name
        for holder in ast.walk(tree)
        if isinstance(holder, ast.ClassDef)
        for node in holder.body
        if isinstance(node, Function) and node.name == "__init__"
    }
    for node in functions(tree):
        taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [one.arg for one in taken if one.arg not in {"self", "cls"}]
        yield built.get(node, node.name), len(names)


def too_many_parameters(root: Path) -> list[str]:
    """Functions and constructors with more parameters than the limit, ``self`` not counted."""
    return [
        f"{name}: {called} takes {count} parameters, at most {limit}"
        for name, tree in modules(root)
        for called, count in signatures(tree)
        if count > (limit := PUBLIC.get((name, called), PARAMETERS))
    ]


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


# As in f"{share:.2%}": a person reads "92.73 %".
_TIGHT_PERCENT = re.compile(r":\.?\d*%\}")


def tight_percents(root: Path) -> list[str]:
    """Formats that put a percent sign next to its figure."""
    return [
        f"{path.relative_to(root).as_posix()}:{number}: a space belongs before the percent sign"
        for path in sorted(root.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _TIGHT_PERCENT.search(line)
    ]


Checker = Callable[[Path], list[str]]
CHECKERS: tuple[Checker, ...] = (
    breaks_order,
    circles,
    loads_heavy,
    too_big,
    too_many_parameters,
    vague_names,
    named_twice,
    left_out,
    unsafe,
    undocumented,
    tight_percents,
)


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_the_source_keeps_the_rule(checker: Checker) -> None:
    assert checker(SOURCE) == []


def test_the_list_of_parts_names_what_there_is() -> None:
    parts = {part_of(name) for name, _ in modules(SOURCE)} - {"__init__", "__main__"}
    assert frozenset().union(*HOUSE["offshelf"]) == parts
    for part in sorted(parts):
        rooms = {path.parent.name for path in SOURCE.glob(f"{part}/*/__init__.py")}
        assert frozenset().union(*HOUSE.get(part, ())) == rooms, part
    for rungs in HOUSE.values():
        assert sum(map(len, rungs)) == len(frozenset().union(*rungs)), "named twice"


def test_the_readme_names_the_same_parts_in_the_same_order() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| (.*?) \|", text, re.MULTILINE)
    parts = [part for row in rows for part in re.findall(r"`(\w+)`", row)]
    assert sorted(parts) == sorted(frozenset().union(*HOUSE["offshelf"]))
    rungs = [rung_of(HOUSE["offshelf"], part) for part in parts]
    assert rungs == sorted(rungs, key=lambda rung: rung or 0)


def test_the_files_that_contributing_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/]+\.py\b", text)) - {"src/offshelf/heads/kinds/median.py"}
    named -= {"cli/commands/count.py", "jobs/count.py", "jobs/count/job.py"}
    present = [path.as_posix() for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    assert {
        name for name in named if not any(path.endswith(f"/{name}") for path in present)
    } == set()


def test_public_interfaces_take_as_many_parameters_as_their_list_says() -> None:
    taken = {(name, *one) for name, tree in modules(SOURCE) for one in signatures(tree)}
    assert {(name, called, count) for (name, called), count in PUBLIC.items()} <= taken


def test_project_text_names_no_machine() -> None:
    assert names_a_machine(ROOT) == []


ARGUMENTS = ", ".join(f"a{number}" for number in range(7))
BROKEN: list[tuple[Checker, str, str, str]] = [
    (breaks_order, "errors.py", "import offshelf.cache", "errors imports cache"),
    (breaks_order, "files.py", "from offshelf import cache", "files imports cache"),
    (
        breaks_order,
        "data/a.py",
        "from offshelf.backbones.specification.spec import X",
        "data imports backbones",
    ),
    (breaks_order, "data/a.py", "from .. import cli", "data imports cli"),
    (breaks_order, "data/tables/a.py", "from ...engine import base", "data imports engine"),
    (
        breaks_order,
        "heads/a.py",
        "def f():\n    from ..model_file import load",
        "heads imports model_file",
    ),
    (breaks_order, "jobs/a.py", "if TYPE_CHECKING:\n    import offshelf.cli", "jobs imports cli"),
    (breaks_order, "jobs/a.py", "import_module('offshelf.cli')", "jobs imports cli"),
    (breaks_order, "cli/a.py", "from offshelf import fit", "cli imports fit"),
    (breaks_order, "cli/a.py", "import offshelf", "cli imports offshelf"),
    (breaks_order, "cli/a.py", "from offshelf import __version__", "cli imports __version__"),
    (breaks_order, "spare/a.py", "", "spare is not in the list"),
    (breaks_order, "data/spare/a.py", "", "data/spare is not in the list"),
    (loads_heavy, "heads/a.py", "import sklearn.svm", "loads sklearn"),
    (loads_heavy, "heads/a.py", "try:\n    from torch import nn\nexcept X: pass", "loads torch"),
    (loads_heavy, "heads/a.py", "class A:\n    import pandas", "loads pandas"),
    (loads_heavy, "engine/torch_engine/reference.py", "import openvino", "loads openvino"),
    (too_big, "a.py", "x = 1\n" * 351, "a.py: 351 lines, at most 350"),
    (too_big, "a.py", "def f():\n" + "    x = 1\n" * 50, "f has 51 lines, at most 50"),
    (too_many_parameters, "a.py", f"def f({ARGUMENTS}): ...", "f takes 7 parameters, at most 6"),
    (
        too_many_parameters,
        "a.py",
        f"class A:\n    def __init__(self, {ARGUMENTS}): ...",
        "A takes 7 parameters, at most 6",
    ),
    (
        too_many_parameters,
        "feature_extractor.py",
        f"def f():\n    def FeatureExtractor({ARGUMENTS}, x, y, z, u, v, w): ...",
        "FeatureExtractor takes 13 parameters, at most 12",
    ),
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
    (tight_percents, "a.py", 'f"{x:.2%}"', "a space belongs before the percent sign"),
    (undocumented, "a.py", '"""A."""\ndef f(): ...', "f has no docstring"),
    (undocumented, "a.py", '"""A."""\nclass A: ...', "A has no docstring"),
    (undocumented, "a.py", '"""A."""\nclass A:\n  """A."""\n  def f(): ...', "f has no docstring"),
    (names_a_machine, "docs/a.md", "see /" + "root/models", "docs/a.md:1"),
    (names_a_machine, "notes.txt", "from https://py" + "pi.org/simple", "notes.txt:1"),
]
KEPT: list[tuple[Checker, str, str]] = [
    (breaks_order, "data/a.py", "from . import table\nfrom offshelf.files import write_json"),
    (breaks_order, "data/tables/a.py", "from offshelf.data.folders.image_files import SUFFIXES"),
    (circles, "data/a.py", "from offshelf.data import a"),
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(("checker", "name", "text", "expected"), BROKEN)
def test_a_broken_rule_is_found(
    tmp_path: Path, checker: Checker, name: str, text: str, expected: str
) -> None:
    _write(tmp_path / "source", name, text)
    found = checker(tmp_path / "source")
    assert len(found) == 1
    assert expected in found[0]


# Files of one source, and what they break together.
TOGETHER: list[tuple[Checker, dict[str, str], str]] = [
    (
        breaks_order,
        {"data/folders/a.py": "import offshelf.data.tables.b", "data/tables/b.py": ""},
        "data/folders/a.py: data/folders imports data/tables",
    ),
    (
        breaks_order,
        {"data/folders/a.py": "import offshelf.data.decoding.b", "data/decoding/b.py": ""},
        "data/folders/a.py: data/folders imports data/decoding",
    ),
    (
        circles,
        {
            "a.py": "if TYPE_CHECKING:\n    import offshelf.b",
            "b.py": "def f():\n    from . import a",
        },
        "a.py, b.py import one another",
    ),
    (
        circles,
        {"a.py": "import offshelf.b", "b.py": "import offshelf.c", "c.py": "import offshelf.a"},
        "a.py, b.py, c.py import one another",
    ),
    (
        circles,
        {
            "heads/kinds/a.py": "import offshelf.heads.b",
            "heads/b.py": "from .kinds import c",
            "heads/kinds/c.py": "",
        },
        "heads/b.py, heads/kinds import one another",
    ),
    (
        named_twice,
        {
            **dict.fromkeys(("a/rows.py", "b/rows.py"), ""),
            **dict.fromkeys(("cli/commands/fit.py", "jobs/fit.py", "a/__init__.py"), ""),
        },
        "a/rows.py, b/rows.py: one name",
    ),
]


@pytest.mark.parametrize(("checker", "texts", "expected"), TOGETHER)
def test_what_files_break_together_is_found(
    tmp_path: Path, checker: Checker, texts: dict[str, str], expected: str
) -> None:
    for name, text in texts.items():
        _write(tmp_path / "source", name, text)
    assert checker(tmp_path / "source") == [expected]


@pytest.mark.parametrize(("checker", "name", "text"), KEPT)
def test_a_kept_rule_is_silent(tmp_path: Path, checker: Checker, name: str, text: str) -> None:
    _write(tmp_path / "source", name, text)
    assert checker(tmp_path / "source") == []
