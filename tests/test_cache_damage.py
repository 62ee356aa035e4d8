"""A damaged byte in any file of the cache: seen, set aside, said once, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offshelf import sealed_json
from offshelf.features.store import part_files

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A small cache with parts of several row groups."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import flips

    monkeypatch.setattr(part_files, "ROW_GROUP_BYTES", flips.GROUP * 4 * flips.D)
    return flips.World(tmp_path)


def attacked(world: Any, count: int) -> Any:
    import flips

    return flips.attack(world, count, 1, lambda: None, rounds=1)


@pytest.mark.slow
def test_no_damage_changes_a_number_or_comes_back(world: Any) -> None:
    report = attacked(world, 220)
    assert report.bad == {"silent": [], "error": [], "back": [], "notes": []}
    kinds = {"part", "manifest", "cell", "plan", "speed", "key", "graph.xml", "graph.bin"}
    kinds |= {"digests.bin", "result.safetensors"}
    assert set(report.tried) == kinds
    # What is not said changes nothing: white space in JSON, a copy, the first bytes of Parquet.
    assert all(report.seen[kind] > 0.7 * report.tried[kind] for kind in kinds)


def test_the_attack_sees_what_is_silent(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import flips

    monkeypatch.setattr(sealed_json, "_seal", lambda *_: "the same for all")
    for path in world.whole:
        path.unlink()
    world.use()
    world.whole = {path: path.read_bytes() for path in world.files()}
    report = flips.Report()
    place = world.plan.place(0, 0, flips.RECIPES[0])
    text = place.read_text()
    place.write_text(text.replace("    2", "    1", 1))
    flips.attempt(world, report, place, "a digit")
    assert report.bad["silent"] == [f"{place.name}: a digit: cell"]
    speed = next(path for path in world.whole if path.name.startswith("speed"))
    speed.write_text("{")
    flips.attempt(world, report, speed, "cut")
    assert (report.seen["speed"], len(report.bad["silent"])) == (1, 1)
