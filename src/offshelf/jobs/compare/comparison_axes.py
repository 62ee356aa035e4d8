"""The axes of a comparison: what each says of a row, and the names of rows by what varies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.preparation.reduction import parse_reduction
from offshelf.jobs.compare.feature_sets import View
from offshelf.jobs.setup.settings import HeadSettings

# Of a row without that axis, as centroid has no C: it is like any value.
NO_VALUE = "-"
LAYER, BACKBONE, C = "layer", "backbone", "C"


class Row(Protocol):
    """What axes need of a row: its features, its head, and the values of C in force."""

    @property
    def view(self) -> View:
        """The features."""

    @property
    def recipe(self) -> HeadSettings:
        """The head."""

    @property
    def c(self) -> tuple[float, ...]:
        """Of each fold; () for a head without."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        name: heading of its column.
        of: returns the value of a row, as it was asked for.
        said: returns a value in the words of a sentence or a name.
        usual: the value that is taken where nothing is asked for, and that goes unsaid in
            names; "" where every value is said.
        treats: whether other values are a treatment of the usual one, which costs or gains.
    """

    name: str
    of: Callable[[Row], str]
    said: Callable[[str], str] = str
    usual: str = ""
    treats: bool = True

    def shown(self, row: Row) -> str:
        """Return the value as a table has it."""
        value = self.of(row)
        if self.name != C or value != "auto" or not row.c:
            return value
        return f"auto: {', '.join(f'{c:.3g}' for c in sorted(set(row.c)))}"


def _words(**known: str) -> Callable[[str], str]:
    """Return what says a value in known words, several that are joined one by one."""
    return lambda value: " + ".join(known.get(one, one) for one in value.split(" + "))


_KINDS = {"pca": "PCA to", "whiten": "whitening to", "random": "random projection to"}


def _reduced(value: str) -> str:
    kind, size = parse_reduction(value)
    return f"{_KINDS[kind]} {size:,}" if size else "no reduction"


def _c(row: Row) -> str:
    if not get_fitter(row.recipe.head).uses_c:
        return NO_VALUE
    return row.recipe.c if isinstance(row.recipe.c, str) else f"{row.recipe.c:g}"


AXES: tuple[Axis, ...] = (
    Axis(name=BACKBONE, of=lambda row: row.view.backbone),
    Axis(name=LAYER, of=lambda row: row.view.layer),
    Axis(
        name="pooling",
        of=lambda row: row.view.pooling,
        said=lambda value: value if value == "flatten" else f"{value} pooling",
        usual="avg",
        treats=False,
    ),
    Axis(
        name="weights",
        of=lambda row: row.view.weights,
        said=lambda value: f"{value} weights",
        usual="trained",
        treats=False,
    ),
    Axis(
        name="resize",
        of=lambda row: row.view.resize,
        said=_words(default="resize of the weights", squash="squashing", crop="cropping"),
        usual="default",
    ),
    Axis(
        name="scaling",
        of=lambda row: row.view.scaling,
        said=_words(weights="scaling of the weights", none="no scaling"),
        usual="weights",
    ),
    Axis(
        name="grey",
        of=lambda row: row.view.grey,
        said=_words(replicate="colour", luma="no colour (luma)", summed="no colour (summed)"),
        usual="replicate",
    ),
    Axis(
        name="input size",
        of=lambda row: row.view.size,
        said=lambda value: (
            "the input size of the weights" if value == "default" else f"an input of {value} pixels"
        ),
        usual="default",
    ),
    Axis(name="precision", of=lambda row: row.view.precision, usual="fp32"),
    Axis(
        name="flips",
        of=lambda row: row.view.flips,
        said=_words(
            none="no mirror images",
            training="training on mirror images",
            prediction="averaging mirror images",
            both="training on and averaging mirror images",
        ),
        usual="none",
    ),
    Axis(
        name="normalisation",
        of=lambda row: row.recipe.normalisation,
        said=lambda value: f"{'no' if value == 'none' else value} normalisation",
        usual="l2",
        treats=False,
    ),
    Axis(name="reduction", of=lambda row: row.recipe.reduction, said=_reduced, usual="none"),
    Axis(name="head", of=lambda row: row.recipe.head),
    Axis(name=C, of=_c, said=lambda value: "C auto" if value == "auto" else f"C = {value}"),
    Axis(
        name="class weight",
        of=lambda row: row.recipe.class_weight or "none",
        said=_words(balanced="class balancing", none="no class balancing"),
        usual="none",
    ),
)
_NAMING = (BACKBONE, LAYER, "head")
_TOLD = (*_NAMING, C, "pooling", "normalisation")


def values_of(axis: Axis, rows: Iterable[Row]) -> list[str]:
    """Return the different values of an axis, in the order of the rows."""
    return [value for value in dict.fromkeys(map(axis.of, rows)) if value != NO_VALUE]


def varied(rows: Sequence[Row]) -> tuple[Axis, ...]:
    """Return the axes in which the rows differ."""
    return tuple(axis for axis in AXES if len(values_of(axis, rows)) > 1)


def naming(rows: Sequence[Row]) -> tuple[Axis, ...]:
    """Return the axes that name a row among *rows*: what varies, else backbone, layer, head."""
    return varied(rows) or tuple(axis for axis in AXES if axis.name in _NAMING)


def name_of(row: Row, axes: Sequence[Axis] = AXES) -> str:
    """Return a row by its values on *axes*, without the usual ones."""
    by_name = {axis.name: axis for axis in axes}
    places = [by_name.pop(name).of(row) for name in (BACKBONE, LAYER) if name in by_name]
    if len(places) == 2 and row.view.of_several_backbones:
        # The layers name their backbones.
        del places[0]
    said = [axis.said(axis.of(row)) for axis in by_name.values() if _is_said(axis, row)]
    words = [" ".join(places), *said] if places else said
    return ", ".join(words) or _plainly(row, axes)


def _is_said(axis: Axis, row: Row) -> bool:
    return axis.of(row) not in (axis.usual, NO_VALUE)


def _plainly(row: Row, axes: Sequence[Axis]) -> str:
    """Return a row of which every value is the usual one."""
    return ", ".join(axis.said(axis.of(row)) for axis in axes)


def common(rows: Sequence[Row]) -> str:
    """Return what all rows have in common; of what is rarely changed only the unusual.

    "" where that is nothing.
    """
    found = {axis: values_of(axis, rows) for axis in AXES}
    same = {axis.name: axis.said(values[0]) for axis, values in found.items() if len(values) == 1}
    for axis in AXES:
        if axis.name not in _TOLD and found[axis] == [axis.usual]:
            del same[axis.name]
    places = " ".join(same.pop(name) for name in (BACKBONE, LAYER) if name in same)
    return ", ".join(filter(None, [places, *same.values()]))
