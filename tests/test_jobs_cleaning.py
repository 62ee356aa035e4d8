"""``doctor --clean``: what nobody needs goes, what somebody may need stays."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from offshelf import locks
from offshelf.cli.main import main
from offshelf.data.decoding.limits import Facts
from offshelf.engine.openvino_engine import graph_cache
from offshelf.errors import OffshelfError
from offshelf.features.store import merging, part_files
from offshelf.features.store.feature_store import FeatureStore
from offshelf.features.store.part_format import Rows
from offshelf.jobs import doctor
from offshelf.jobs.cleaning import clean
from offshelf.progress import Silent, notifying

IDENTITY = {"layer": "pool5"}
D = 4


def digest(number: int) -> bytes:
    """A hash; that of 4 ends in a zero, as one in 256 does."""
    return hashlib.sha256(str(number).encode()).digest()[:31] + bytes([number % 4])


def write_part(store: FeatureStore, stem: str, numbers: list[int]) -> None:
    """A part, as another process on the same store wrote it."""
    rows = Rows(
        [digest(number) for number in numbers],
        [Facts(width=number + 1, height=1) for number in numbers],
        np.array([[number] * D for number in numbers], np.float32),
    )
    part_files.write(store.folder, stem, IDENTITY, rows)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def littered(tmp_path: Path, temporary: Path) -> Path:
    """A cache with one store in order, and litter of every kind."""
    root = tmp_path / "cache"
    store = FeatureStore(root / "features", IDENTITY, D)
    write_part(store, "part-1-1", [1, 2, 3])
    claims = root / "features" / "claims"
    claims.mkdir()
    (claims / "1-dead.claim").write_bytes(b"[]\n")
    (claims / "turn.lock").touch()
    (store.folder / "part-0.damaged").write_bytes(b"d" * 100)
    (root / "features" / ("0" * 32)).mkdir()
    (root / "features" / ("0" * 32) / "part-1.parquet").write_bytes(b"o" * 1000)
    (root / "compiled" / ("1" * 32)).mkdir(parents=True)
    (root / "compiled" / ("1" * 32) / "graph.bin").write_bytes(b"g" * 2000)
    (root / "compiled" / f".{'2' * 32}.lock").touch()
    (root / "compiled" / f".offshelf-{'a' * 16}-{'b' * 32}.tmp").write_bytes(b"t" * 10)
    for folder in (root / ".offshelf-12345678", temporary / ".offshelf-abcdefgh"):
        folder.mkdir()
        (folder / "owner.lock").touch()
        (folder / "half").write_bytes(b"h" * 20)
    former = root / "compiled" / f".{'c' * 32}.json.tmp"
    former.write_bytes(b"f" * 5)
    os.utime(former, (1e9, 1e9))
    (root / "weights" / "net").mkdir(parents=True)
    (root / "weights" / "net" / "net.pth.part").write_bytes(b"w")
    return root


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


LEFT = [
    "compiled",
    "features",
    "features/claims",
    "features/claims/turn.lock",
    "weights",
    "weights/net",
    "weights/net/net.pth.part",
]


def test_litter_goes_and_the_rest_stays(littered: Path, temporary: Path):
    person = temporary / ".offshelf-notes"
    person.mkdir()
    before = everything(littered)
    would = clean(littered, dry=True)
    assert everything(littered) == before
    done = clean(littered)
    assert done.removals == would.removals
    assert [(one.kind, one.count, one.size) for one in done.removals] == [
        ("temporary files", 4, 55),
        ("damaged files", 1, 100),
        ("claims and locks", 2, 3),
        ("stores of another version", 1, 1000),
        ("networks of another version", 1, 2000),
    ]
    store = FeatureStore(littered / "features", IDENTITY)
    own = f"features/{store.folder.name}"
    assert [name for name in everything(littered) if not name.startswith(own)] == LEFT
    assert store.read([digest(2)]).tolist() == [[2.0] * D]
    assert everything(temporary) == [".offshelf-notes"]
    assert clean(littered).removals == ()


def test_what_a_person_keeps_beside_the_cache_stays(littered: Path, temporary: Path):
    names = [
        "features/thesis/figures.csv",
        "features/notes.damaged",
        "compiled/program/a.out",
        "compiled/.program.lock",
        "compared/papers/one.pdf",
        "weights/mine.pth",
        "weights/run/epoch-1.damaged",
        "weights/run/.run.lock",
        "photos/broken.damaged",
        "photos/.lock/one.jpg",
        "project/.project.lock",
        f"project/.{'a' * 32}",
    ]
    for name in names:
        path = littered / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
        os.utime(path, (1e9, 1e9))
    clean(littered, cache_size="0")
    assert [name for name in names if not (littered / name).is_file()] == []
    assert sorted(path.name for path in (littered / "features").iterdir()) == [
        "claims",
        "notes.damaged",
        "thesis",
    ]


def test_what_has_a_living_owner_stays(littered: Path, temporary: Path):
    held = [
        *littered.glob("features/claims/1-dead.claim"),
        *littered.glob("compiled/.*"),
        littered / ".offshelf-12345678" / "owner.lock",
        temporary / ".offshelf-abcdefgh" / "owner.lock",
    ]
    owners = [locks.Lock(path) for path in held if "c" * 32 not in path.name]
    assert all(owner.take() for owner in owners)
    graph_used = locks.Lock(littered / "compiled" / ("1" * 32) / "used")
    assert graph_used.take(shared=True)
    kinds = [one.kind for one in clean(littered).removals]
    assert kinds == ["temporary files", "damaged files", "stores of another version"]
    assert all(owner.path.exists() for owner in [*owners, graph_used])
    for owner in [*owners, graph_used]:
        owner.release()


def test_doubled_rows_go_and_every_row_stays_what_it_was(tmp_path: Path, temporary: Path):
    store = FeatureStore(tmp_path / "features", IDENTITY, D)
    for stem, numbers in (("part-1-1", [1, 2, 3]), ("part-2-2", [3, 4, 2]), ("part-3-3", [1, 3])):
        write_part(store, stem, numbers)
    store.refresh()
    wanted = [digest(number) for number in (4, 3, 2, 1)]
    assert wanted[0][-1] == 0
    before, facts = store.read(wanted), [store.facts(one) for one in wanted]
    # Somebody uses the store.
    assert [one.kind for one in clean(tmp_path).removals] == []
    folder = store.folder
    del store
    assert [(one.count, one.size) for one in clean(tmp_path, dry=True).removals] == [(4, 64)]
    (removal,) = clean(tmp_path).removals
    assert (removal.kind, removal.count, removal.size) == ("doubled rows", 4, 4 * 4 * D)
    again = FeatureStore(tmp_path / "features", IDENTITY)
    assert again.read(wanted).tobytes() == before.tobytes()
    assert [again.facts(one) for one in wanted] == facts
    assert merging.doubled(folder) == []
    assert sum(len(part.hashes) for part in again._index.parts.values()) == 4


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_damaged_part_with_doubled_rows_is_left_to_whoever_uses_it(
    tmp_path: Path, temporary: Path, damaged: int
):
    store = FeatureStore(tmp_path / "features", IDENTITY, D)
    folder = store.folder
    del store
    for stem, numbers in (("part-1-1", [1, 2, 3]), ("part-2-2", [3, 4, 2])):
        write_part(FeatureStore(tmp_path / "features", IDENTITY, D), stem, numbers)
    path = sorted(folder.glob("part-*"))[damaged]
    content = bytearray(path.read_bytes())
    content[content.find(np.full(D, 3, np.float32).tobytes())] ^= 1
    path.write_bytes(content)
    assert clean(tmp_path).removals == ()
    told = Silent()
    with notifying(told):
        again = FeatureStore(tmp_path / "features", IDENTITY)
        known = [number for number in (1, 2, 3, 4) if digest(number) in again]
    assert known == [[2, 3, 4], [1, 2, 3]][damaged]
    assert told.notes == [f"{path}: damaged, set aside; its images are extracted again"]


def test_the_bound_is_kept_too(tmp_path: Path, temporary: Path):
    store = FeatureStore(tmp_path / "features", IDENTITY, D)
    write_part(store, "part-1-1", [1])
    del store
    (removal,) = clean(tmp_path, cache_size="1").removals
    assert (removal.kind, removal.count) == ("least recently used", 1)
    assert list((tmp_path / "features").iterdir()) == []
    with pytest.raises(OffshelfError, match="--cache-size: 'x' is no size"):
        clean(tmp_path, cache_size="x")


def test_only_graphs_of_this_version_are_current(tmp_path: Path):
    own = {"graph": graph_cache.VERSION, "openvino": graph_cache.import_openvino().get_version()}
    for number, key in enumerate([own, own | {"graph": 1}, own | {"openvino": "2020.1"}]):
        folder = tmp_path / str(number)
        graph_cache.sealed_json.write(folder / graph_cache.KEY, {"key": key})
        assert graph_cache.is_current(folder) == (number == 0)


# --- the command --------------------------------------------------------------


def test_the_command_says_what_went(
    littered: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["doctor", "--clean", "--cache-dir", str(littered)]
    emptied = f"to empty it, delete {littered}; your weights are in {littered / 'weights'}"
    assert main([*words, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "temporary files              4, 55 bytes",
        "damaged files                1, 100 bytes",
        "claims and locks             2, 3 bytes",
        "stores of another version    1, 1.0 kB",
        "networks of another version  1, 2.0 kB",
        "would be removed             3.2 kB",
        f"cache                        {emptied}",
    ]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["dry_run"], document["bytes"]) == (False, 3158)
    assert document["removed"][1] == {"kind": "damaged files", "count": 1, "bytes": 100}
    assert main(words) == 0
    assert capsys.readouterr().out == f"removed  nothing\ncache    {emptied}\n"
    assert main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out == (f"would be removed  nothing\ncache             {emptied}\n")


@pytest.mark.parametrize("word", ["--dry-run", "--cache-size=1G"])
def test_words_that_belong_to_cleaning_are_refused_without_it(
    word: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["doctor", word]) == 2
    name = word.split("=", maxsplit=1)[0]
    assert capsys.readouterr().err == f"error: {name} belongs to --clean\n"


def test_the_doctor_says_what_the_cache_holds(
    littered: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
):
    main(["doctor", "--json", "--cache-dir", str(littered)])
    checks = {one["name"]: one["detail"] for one in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["cache folder"].startswith(f"{littered}: 0 MiB used, ")
    assert checks["cache contents"].startswith(
        "features 0.0 MiB, networks 0.0 MiB, comparisons 0.0 MiB, digests 0.0 MiB, "
        "trained 0.0 MiB, weights 0.0 MiB; bound "
    )


@pytest.mark.parametrize(
    ("free", "text"),
    [
        (40, "bound 20.0 GiB without weights"),
        (3, "bound 20.0 GiB without weights, though the disk has room for 3.0 GiB (--cache-size)"),
    ],
)
def test_the_doctor_says_where_the_disk_is_smaller_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, text: str
) -> None:
    usage = SimpleNamespace(free=free * 2**30, total=100 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert doctor._contents(tmp_path / "cache").endswith(f"; {text}")
