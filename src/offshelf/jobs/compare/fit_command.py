"""The command line of ``fit`` that makes a row of a comparison, ready for a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from offshelf.data.decode import Limits
from offshelf.engine.contract import EngineOptions
from offshelf.feature_sets.feature_set import NO_FLIPS
from offshelf.jobs.compare.chosen_row import ACCURACY, chosen_row, obstacle
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.grid import ProtocolSettings, uses_given_split
from offshelf.jobs.setup.settings import RunSettings

MODEL = "best.offshelf"
OTHER_ACCURACY = "fit measures on the one split of the data, so it will state another accuracy"
_USUAL, _ENGINE, _LIMITS = RunSettings(), EngineOptions(), Limits()


@dataclass(frozen=True)
class FitCommand:
    """How a row is made into a model.

    Attributes:
        text: one line for a POSIX shell; "" where ``fit`` can make none of the rows.
        notes: which row it makes and why, and what it does not do, one line each.
        title: which row it makes, in a few words.
        row: that row; None where there is none.
        other_split: whether ``fit`` measures on another split than the comparison.
    """

    text: str
    notes: tuple[str, ...] = ()
    _: KW_ONLY
    title: str = field(default="the best row", compare=False)
    row: Row | None = field(default=None, compare=False)
    other_split: bool = field(default=False, compare=False)


def fit_command(
    rows: Sequence[Row],
    data: str | Path,
    run: RunSettings,
    protocol: ProtocolSettings,
    prefer: str = ACCURACY,
    out: str | Path = MODEL,
) -> FitCommand:
    """Return the command that makes the best row, or the preferred one of those as good.

    Args:
        rows: of a comparison, the best first.
        data: the images, as the comparison was given them.
        run: how it was run.
        protocol: how accuracy was measured.
        prefer: see :func:`.chosen_row`.
        out: the model file.
    """
    chosen, other = chosen_row(rows, prefer), not uses_given_split(protocol)
    if chosen.row is None:
        return FitCommand("", chosen.notes)
    text = command_of(chosen.row, data, run, protocol.groups, out)
    notes = (*chosen.notes, OTHER_ACCURACY) if other else chosen.notes
    return FitCommand(text, notes, title=chosen.title, row=chosen.row, other_split=other)


def command_of(
    row: Row, data: str | Path, run: RunSettings, groups: str | None, out: str | Path = MODEL
) -> str:
    """Return the command that makes a row, "" where ``fit`` cannot."""
    if row.score is None or obstacle(row.view):
        return ""
    words = [*_options(row), *_settings(run, groups), "--out", _path(out) or MODEL]
    return " ".join(map(quoted, ["offshelf", "fit", _path(data) or "", *words]))


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
