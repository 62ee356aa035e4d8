"""Damage to every kind of file in the cache: no number may change, nothing may come back.

A small cache is made, one of its files is damaged, and everything in it is used twice: the
first use must see the damage or not be touched by it, give what was kept, and leave a cache
that the second use has nothing to say of.

    python benchmarks/flips.py --flips 20000
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from arguments import Parser, positive
from offshelf import sealed_json
from offshelf.data import digests
from offshelf.data.decoding.limits import Facts
from offshelf.engine.openvino_engine import graph_cache
from offshelf.engine.openvino_engine import streams as plans
from offshelf.feature_sets.feature_set import Joining
from offshelf.features.store import part_files
from offshelf.features.store.feature_store import FeatureStore, exists
from offshelf.jobs.compare import grid_cell
from offshelf.jobs.compare import source_features as costs
from offshelf.jobs.compare.plan import Plan, Stored
from offshelf.jobs.setup.settings import HeadSettings
from offshelf.jobs.setup.trained_results import Form, Kept
from offshelf.measurement.splits.protocol import Fold
from offshelf.measurement.transferability import Transfer
from offshelf.progress import Silent, notifying

D, PARTS, ROWS, GROUP = 6, 3, 12, 5
IDENTITY = {"layer": "pool5", "pooling": "avg"}
RECIPES = (HeadSettings(), HeadSettings(c=0.01), HeadSettings(head="centroid"))
FOREIGN = "foreign"


def digest_of(number: int) -> bytes:
    """Return the hash of an image that is none."""
    return hashlib.sha256(str(number).encode()).digest()


class World:
    """A cache with every kind of file, and what it must say.

    Args:
        folder: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        draw = np.random.default_rng(0)
        self.folder = folder
        self.numbers = range(PARTS * ROWS)
        self.digests = [digest_of(number) for number in self.numbers]
        self.matrix = draw.normal(size=(len(self.digests), D)).astype(np.float32)
        words = ("", "inks", "two bands")
        self.facts = [
            Facts(width=9 + n, height=7, memory=64 * n, readable=1.0, assumed=words[n % 3])
            for n in self.numbers
        ]
        self.plan = self._plan()
        self.cells = [
            grid_cell.Cell(
                predictions=tuple(draw.integers(0, 3, 12).tolist()),
                fit_seconds=0.25,
                predict_seconds=0.125,
                dimension=D,
                c=c,
                notes=("slow",),
            )
            for c in (1.0, 0.01, None)
        ]
        self.scores = Transfer(0.5, 1.5, 1.25, 0.1, 0.0625, 10.0, 24, D)
        self.best = plans.default_plan(2)
        self.key = {"graph": "of a small network", "taps": [["fc", "avg"]]}
        self.constant = draw.normal(size=(4, 4)).astype(np.float32)
        self.records = {
            common: np.frombuffer(draw.bytes(72 * count), digests._RECORD)
            for common, count in (("photos", 12), ("scans", 9))
        }
        form = Form(pack=lambda found: found, unpack=lambda arrays, text: (arrays, text))
        self.trained = {
            seed: Kept(root=folder, digest=digest_of(seed).hex(), form=form) for seed in (1, 2)
        }
        self.use()
        self._beside()
        self.whole = {path: path.read_bytes() for path in self.files()}

    def files(self) -> list[Path]:
        """Return the files that are there and say something; locks and marks of use are empty."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [path for path in paths if path.stat().st_size]

    def restore(self) -> None:
        """Put everything back."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir() and (path.suffix == ".damaged" or path in self.whole):
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_file() and path not in self.whole:
                path.unlink()
        for path, content in self.whole.items():
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def use(self, kind: str = "") -> None:
        """Read everything as the product does, make what is missing, and compare.

        Args:
            kind: of the one file that is not what it was, "" where it may be any.

        Raises:
            AssertionError: something is not what was kept.
        """
        if kind in {"", "part", "manifest"}:
            self._use_store()
        if kind in {"", "digests.bin"}:
            self._use_digests()
        if kind in {"", "result.safetensors"}:
            self._use_trained()
        if kind in {"", "cell", "speed"}:
            self._use_cells()
        if kind in {"", "plan", "key", "graph.xml", "graph.bin"}:
            self._use_graph()

    def _use_trained(self) -> None:
        for seed, kept in self.trained.items():
            arrays, document = kept.take(lambda seed=seed: self._train(seed))
            expected, said = self._train(seed)
            assert document == said
            assert sorted(arrays) == sorted(expected)
            for name, array in expected.items():
                assert arrays[name].dtype == array.dtype
                assert np.array_equal(arrays[name], array)

    def _train(self, seed: int) -> tuple[dict[str, Any], Any]:
        draw = np.random.default_rng(seed)
        arrays = {"bias": draw.normal(size=3), "weight": draw.normal(size=(3, D))}
        return arrays, {"head": "svm", "folds": [[seed, None, True], ["a\u00e4", 0.1]]}

    def _use_store(self) -> None:
        root = self.folder / "features"
        dimension = None if exists(root, IDENTITY) else D
        store = FeatureStore(root, IDENTITY, dimension)
        check(store.dimension == D, "dimension")
        for number, digest in enumerate(self.digests):
            facts = store.facts(digest)
            if facts is None:
                store.append(digest, self.matrix[number], self.facts[number])
            else:
                check(facts == self.facts[number], "facts")
            if number % ROWS == ROWS - 1:
                store.flush()
        check(np.array_equal(store.read(self.digests), self.matrix), "features")

    def _beside(self) -> None:
        """Make a store of other features, whose part may come to lie in the first."""
        other = FeatureStore(self.folder / "features", IDENTITY | {"pooling": FOREIGN}, D)
        for number, digest in enumerate(self.digests[:ROWS]):
            other.append(digest, -self.matrix[number], self.facts[number])
        other.flush()

    def _use_digests(self) -> None:
        for common, truth in self.records.items():
            place = digests.folder_of(self.folder, common) / digests.NAME
            found = digests.read_records(place)
            if found is None:
                digests.write_records(place, truth)
            else:
                check(np.array_equal(found, truth), "digests")

    def _use_cells(self) -> None:
        for recipe, truth in zip(RECIPES, self.cells, strict=True):
            cell = grid_cell.read_cell(self.plan, 0, 0, recipe)
            if cell is None:
                sealed_json.write(self.plan.place(0, 0, recipe), asdict(truth))
            else:
                check(cell == truth, "cell")
        place = self.plan.place(0, 0, grid_cell.TRANSFER)
        kept = grid_cell._read_transfer(place, 24)
        if kept is None:
            sealed_json.write(place, asdict(self.scores))
        else:
            check(kept == self.scores, "scores")
        speed = self.folder / "compiled" / "speed-0.json"
        ms = costs._recorded(speed)
        if ms is None:
            sealed_json.write(speed, {"ms": 12.5})
        else:
            check(ms == 12.5, "speed")

    def _use_graph(self) -> None:
        folder = self.folder / "compiled" / "graph"
        model = graph_cache.read_graph(folder, self.key)
        if model is None:
            made = graph_cache.keep_graph(small_network(self.constant), folder, self.key)
            check(made is not None, "graph kept")
        else:
            held = [op.data for op in model.get_ops() if op.get_type_name() == "Constant"]
            check(len(held) == 1 and np.array_equal(held[0], self.constant), "graph")
        place = folder / "plan-0.json"
        found = plans._read(place, self.best)
        if found is None:
            sealed_json.write(place, asdict(self.best) | {"images": None})
        else:
            check(found == (self.best, None), "plan")

    def _plan(self) -> Plan:
        return Plan(
            root=self.folder / "features",
            results=self.folder / "compared",
            digests=tuple(self.digests),
            targets=np.arange(len(self.digests)) % 3,
            classes=("a", "b", "c"),
            folds=(Fold(np.arange(24), np.arange(24, 36)),),
            views=(Stored((IDENTITY,), Joining(("none",))),),
            recipes=RECIPES,
            seed=0,
        )


def small_network(constant: Any) -> Any:
    """Return a graph with one constant."""
    opset = graph_cache.import_openvino().opset13
    given = opset.parameter([1, 4], np.float32)
    product = opset.matmul(given, opset.constant(constant), False, False)
    return graph_cache.import_openvino().Model([product], [given])


def check(right: bool, what: str) -> None:
    """Refuse a number that is not what was kept."""
    if not right:
        raise AssertionError(what)


@dataclass
class Report:
    """What became of the damages.

    Attributes:
        tried: damages by kind of file.
        seen: of these, how many were said.
        bad: damage -> what went wrong, for silent changes, errors and what came back.
    """

    tried: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    bad: dict[str, list[str]] = field(
        default_factory=lambda: {"silent": [], "error": [], "back": [], "notes": []}
    )


def kind_of(path: Path) -> str:
    """Return the kind of file in a word."""
    if path.suffix == ".parquet":
        return "part"
    if path.parent.parent.name == "compared":
        return "cell"
    return path.name.partition("-")[0].removesuffix(".json")


def attempt(world: World, report: Report, path: Path, what: str) -> None:
    """Use a world twice in which *path* was damaged, note what happened, and mend it."""
    kind = kind_of(path)
    report.tried[kind] += 1
    told = [Silent(), Silent()]
    try:
        for progress in told:
            with notifying(progress):
                world.use(kind)
    except AssertionError as error:
        report.bad["silent"].append(f"{path.name}: {what}: {error}")
    except Exception:
        report.bad["error"].append(f"{path.name}: {what}: {traceback.format_exc()}")
    first, second = (progress.notes for progress in told)
    report.seen[kind] += bool(first)
    if second:
        report.bad["back"].append(f"{path.name}: {what}: {second}")
    named = all(path.name in line or path.parent.name in line for line in first)
    if len(first) > 1 or not named:
        report.bad["notes"].append(f"{path.name}: {what}: {first}")
    world.restore()


def flips(world: World, count: int, seed: int) -> Iterator[tuple[Path, bytes, str]]:
    """Yield *count* damages of single bytes, evenly over the kinds of files and their bytes."""
    draw = np.random.default_rng(seed)
    by_kind: dict[str, list[Path]] = {}
    for path in world.whole:
        if FOREIGN not in path.read_text(errors="replace"):
            by_kind.setdefault(kind_of(path), []).append(path)
    # Parts have the most bytes and the most structure.
    kinds = [*sorted(by_kind), "part", "part", "part"]
    for number in range(count):
        choices = by_kind[kinds[number % len(kinds)]]
        path = choices[int(draw.integers(len(choices)))]
        content = bytearray(world.whole[path])
        at, bits = int(draw.integers(len(content))), int(draw.integers(1, 256))
        bits = bits if number % 2 else 1 << int(draw.integers(8))
        content[at] ^= bits
        yield path, bytes(content), f"byte {at} of {len(content)} ^ {bits}"


def other_damages(
    world: World, draw: np.random.Generator, rounds: int
) -> Iterator[tuple[Path, bytes, str]]:
    """Yield each file cut, emptied, lengthened, zeroed in places, and in another's place."""
    for path, whole in world.whole.items():
        if FOREIGN in path.read_text(errors="replace"):
            continue
        yield path, b"", "emptied"
        yield path, whole + whole[-64:], "lengthened"
        yield path, whole + b"\0" * 512, "lengthened by zeros"
        yield path, bytes(len(whole)), "zeros"
        for _ in range(rounds):
            cut, at = int(draw.integers(len(whole))), int(draw.integers(len(whole)))
            yield path, whole[:cut], f"cut to {cut}"
            yield (
                path,
                whole[:at] + bytes(min(64, len(whole) - at)) + whole[at + 64 :],
                f"hole {at}",
            )
            yield path, whole[:at] + whole[at + 1 :], f"without byte {at}"
        others = [one for one in world.whole.items() if kind_of(one[0]) == kind_of(path)]
        for other, content in others:
            if content != whole:
                yield path, content, f"{other.name} in its place"


def attack(
    world: World, count: int, seed: int, every: Callable[[], None], rounds: int = 12
) -> Report:
    """Damage *world* in all ways, and *count* times by a flipped byte."""
    report, draw = Report(), np.random.default_rng(seed)
    for path, content, what in [*other_damages(world, draw, rounds), *flips(world, count, seed)]:
        path.write_bytes(content)
        attempt(world, report, path, what)
        every()
    for path in list(world.whole):
        path.unlink()
        attempt(world, report, path, "deleted")
    shapes = [path for path in world.whole if path.suffix == ".parquet"]
    for path in shapes:
        for target in shapes:
            stray = target.parent / f"part-9{path.name[6:]}"
            if not stray.exists():
                stray.write_bytes(world.whole[path])
                attempt(world, report, stray, f"a copy of {path}")
    return report


def main() -> None:
    """Attack and report."""
    parser = Parser(__doc__)
    parser.add_argument("--flips", type=positive, default=20_000, help=" ")
    parser.add_argument("--seed", type=int, default=0, help=" ")
    options = parser.parse_args()
    # Several row groups in each part.
    part_files.ROW_GROUP_BYTES = GROUP * 4 * D
    done = Counter[str]()

    def every() -> None:
        done["all"] += 1
        if done["all"] % 2000 == 0:
            print(f"{done['all']:,} damages")

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        report = attack(World(Path(folder)), options.flips, options.seed, every)
    print(
        f"{sum(report.tried.values()):,} damages, of which {sum(report.seen.values()):,} were said"
    )
    for kind, count in sorted(report.tried.items()):
        print(f"  {kind:<18} {count:>7,} tried {report.seen[kind]:>7,} said")
    for what, found in report.bad.items():
        print(f"{what}: {len(found)}")
        for line in found[:5]:
            print(f"  {line}")


if __name__ == "__main__":
    main()
