"""The command line of ``fit`` that makes a row of a comparison, ready for a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from offshelf.data.decode import Limits
from offshelf.engine.contract import EngineOptions
from offshelf.feature_sets.feature_set import NO_FLIPS
from offshelf.jobs.compare.comparison_axes import name_of
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.feature_sets import View
from offshelf.jobs.compare.grid import ProtocolSettings
from offshelf.jobs.setup.settings import RunSettings

MODEL = "best.offshelf"
_USUAL, _ENGINE, _LIMITS = RunSettings(), EngineOptions(), Limits()


@dataclass(frozen=True)
class FitCommand:
    """How a row is made into a model.

    Attributes:
        text: one line for a POSIX shell; "" where ``fit`` can make none of the rows.
        notes: what the command does not do, one line each.
    """

    text: str
    notes: tuple[str, ...] = ()


def fit_command(
    rows: Sequence[Row], data: str | Path, run: RunSettings, protocol: ProtocolSettings
) -> FitCommand:
    """Return the command that makes the best row, or the best that ``fit`` can make.

    Args:
        rows: of a comparison, the best first.
        data: the images, as the comparison was given them.
        run: how it was run.
        protocol: how accuracy was measured.
    """
    good = [row for row in rows if row.score]
    made = next((row for row in good if not obstacle(row.view)), None)
    if made is None:
        return FitCommand("", (f"no row can be made by fit: {obstacle(good[0].view)}",))
    words = [*_options(made), *_settings(run, protocol.groups), "--out", MODEL]
    text = " ".join(map(quoted, ["offshelf", "fit", _path(data) or "", *words]))
    return FitCommand(text, tuple(_notes(made, good, protocol)))


def obstacle(view: View) -> str:
    """Return why ``fit`` cannot make features, "" where it can."""
    if view.scaling == "none":
        return "it always scales pixels as belongs to the weights"
    return ""


def quoted(word: str) -> str:
    r"""Return a word as a shell reads it back, also where it holds what cannot be printed.

    >>> print(quoted("my photos"), quoted("a\nb"))
    'my photos' $'\x61\x0a\x62'
    """
    if word.isprintable():
        return shlex.quote(word)
    escapes = "".join(rf"\x{byte:02x}" for byte in os.fsencode(word))
    return f"$'{escapes}'"


def _path(given: str | Path | None) -> str | None:
    """Return a path that is taken for no option."""
    text = None if given is None else os.fspath(given)
    return f"./{text}" if text and text.startswith("-") else text


def _options(row: Row) -> Iterator[str]:
    view, recipe = row.view, row.recipe
    part, source = view.parts[0], view.parts[0].source
    if len(view.parts) > 1:
        yield from ("--features", view.text)
    else:
        yield from ("--backbone", source.backbone, "--layer", part.layer)
        yield from ("--pooling", part.pooling)
        if source.size is not None:
            yield from ("--input-size", str(source.size))
    if view.flips != NO_FLIPS:
        yield from ("--flips", view.flips)
    if source.weights == "random":
        yield from ("--weights", "random")
    if source.resize is not None:
        yield from ("--resize", source.resize)
    yield from ("--grey", source.grey, "--precision", source.precision)
    yield from ("--head", recipe.head)
    if row.c:
        yield from ("--C", recipe.c if isinstance(recipe.c, str) else _number(recipe.c))
    yield from ("--normalisation", recipe.normalisation, "--reduction", recipe.reduction)
    yield from ("--class-weight", recipe.class_weight or "none")


def _settings(run: RunSettings, groups: str | None) -> Iterator[str]:
    """Yield what decides numbers and is not as usual, and where everything is kept."""
    engine, limits = run.engine, run.reading.limits
    given = (
        ("--engine", engine.engine, _ENGINE.engine),
        ("--device", engine.device, _ENGINE.device),
        ("--cache-dir", _path(engine.cache_dir), None),
        ("--seed", run.seed, _USUAL.seed),
        ("--test-size", run.test_size, _USUAL.test_size),
        ("--classes", run.classes, _USUAL.classes),
        ("--corrections", _path(run.corrections), None),
        ("--groups", groups, None),
        ("--max-pixels", limits.max_pixels, _LIMITS.max_pixels),
        ("--max-memory", limits.max_memory, _LIMITS.max_memory),
    )
    for name, value, usual in given:
        if value is not None and value != usual:
            yield from (name, _number(value) if isinstance(value, float) else str(value))
    if limits.keep_damaged:
        yield "--keep-damaged"


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _notes(made: Row, rows: Sequence[Row], protocol: ProtocolSettings) -> Iterator[str]:
    best = rows[0]
    if made is not best and made.score:
        yield (
            f"fit cannot make the best row: {obstacle(best.view)}; the command makes "
            f"{name_of(made)}: {100 * made.score.accuracy:.2f} %"
        )
    if protocol.splits_from is not None or protocol.kind != "given":
        yield "fit measures on the one split of the data, so it will state another accuracy"
