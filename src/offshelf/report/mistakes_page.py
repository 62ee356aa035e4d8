"""Mistakes as one self-contained HTML page: a contact sheet, class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from offshelf.measurement.metrics import Evaluation
from offshelf.report.findings import short_names
from offshelf.report.mistakes import Mistake
from offshelf.report.page_frame import Frame, framed, picture, place, plain, prose
from offshelf.report.summary import accuracy_facts
from offshelf.text import is_long, noun

MAX_PICTURES = 1000

_STYLE = """
.sheet { display: grid; gap: .9rem .7rem; grid-template-columns: repeat(auto-fill,
  minmax(8.5rem, 1fr)); }
td:last-child, th:last-child { text-align: left; padding: .2rem 0 .2rem .6rem;
  white-space: normal; }
figure { width: auto; }
figure img, figure .none { width: 100%; height: 9rem; }
figure .none { line-height: 9rem; }
b.said { color: #c62828; color: light-dark(#b71c1c, #ff8a80); }
"""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All that the page says.

    Attributes:
        title: what was measured.
        mistakes: the surest first.
        evaluation: the figures that they belong to.
        thumbnails: path -> ``data:`` address of a small picture; a path may be missing.
        made: lines at the foot: with what it was made.
    """

    title: str
    mistakes: Sequence[Mistake]
    evaluation: Evaluation
    thumbnails: Mapping[str, str]
    made: Sequence[str]


def sheet_pictures(mistakes: Sequence[Mistake]) -> list[str]:
    """Return the paths of the images that the page shows, each once."""
    return list(dict.fromkeys(one.path for one in mistakes[:MAX_PICTURES]))


def mistakes_page(sheet: Sheet) -> str:
    """Return the page as HTML, pure ASCII.

    >>> import numpy as np
    >>> from offshelf.measurement.metrics import evaluate
    >>> right = evaluate(np.array([0, 1]), np.array([0, 1]), ["cat", "dog"])
    >>> sheet = Sheet(title="a<b", mistakes=(), evaluation=right, thumbnails={}, made=())
    >>> "No image is wrong." in mistakes_page(sheet)
    True
    """
    evaluation, mistakes = sheet.evaluation, sheet.mistakes
    wrong = f"{len(mistakes):,} of {evaluation.n:,} {noun(evaluation.n, 'image')} "
    wrong += noun(len(mistakes), "is wrong", "are wrong")
    facts = [f"{wrong}; accuracy {accuracy_facts(evaluation)[0][1]}"]
    shown = mistakes[:MAX_PICTURES]
    if len(shown) < len(mistakes):
        rest = len(mistakes) - len(shown)
        facts.append(f"The {len(shown):,} surest are shown; --errors FILE.csv has {rest:,} more.")
    body = ["<p>No image is wrong.</p>"]
    if shown:
        names = short_names([one.path for one in shown])[1]
        numbers = {row.name: number for number, row in enumerate(evaluation.per_class)}
        body = [
            *_summary(sheet, numbers),
            *(
                line
                for name, number in numbers.items()
                for line in _section(
                    number, [one for one in shown if one.true == name], sheet, names
                )
            ),
        ]
    return framed(Frame(sheet.title, facts, sheet.made, _STYLE), body)


def _summary(sheet: Sheet, numbers: Mapping[str, int]) -> Iterator[str]:
    """Yield a table of the classes with a mistake: how many, and taken for what."""
    yield '<div class="wide"><table><thead><tr><th>true class</th><th>images</th><th>wrong</th>'
    yield "<th>taken for</th></tr></thead><tbody>"
    for row in sheet.evaluation.per_class:
        others = Counter(one.predicted for one in sheet.mistakes if one.true == row.name)
        if others:
            most = ", ".join(_one(f"{name} {n:,}") for name, n in others.most_common(3))
            more = len(others) - 3
            most += f" <span>and {more} more</span>" if more > 0 else ""
            look = ' class="long"' if is_long(row.name) else ""
            link = f'<a href="#class-{numbers[row.name]}">{prose(row.name)}</a>'
            yield (
                f"<tr><td{look}>{link}</td>"
                f"<td>{row.n:,}</td><td>{others.total():,}</td><td>{most}</td></tr>"
            )
    yield "</tbody></table></div>"


def _one(text: str) -> str:
    return prose(text) if is_long(text) else f"<span>{prose(text)}</span>"


def _section(
    number: int, mistakes: Sequence[Mistake], sheet: Sheet, names: Mapping[str, str]
) -> Iterator[str]:
    if not mistakes:
        return
    row = sheet.evaluation.per_class[number]
    wrong = sum(one.true == row.name for one in sheet.mistakes)
    title = f"{row.name}: {wrong:,} of {row.n:,} wrong"
    yield f'<section id="class-{number}"><h2>{prose(title)}</h2><div class="sheet">'
    for one in mistakes:
        yield (
            f'<figure title="{plain(one.path)}">{picture(sheet.thumbnails.get(one.path))}'
            f'<figcaption><b class="said">{prose(_sure(one.predicted, one.probability))}</b><br>'
            f"not {prose(_sure(one.true, one.probability_of_true))}<br>{place(names[one.path])}"
            "</figcaption></figure>"
        )
    yield "</div></section>"


def _sure(name: str, probability: float | None) -> str:
    return name if probability is None else f"{name} {100 * probability:.2f} %"
