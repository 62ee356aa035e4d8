"""HTML page of a comparison: what came out, the model of the best row, every row, pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from offshelf.jobs.compare.comparison_axes import name_of, naming
from offshelf.jobs.compare.comparison_charts import available, picture
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.comparison_table import common_line, page_table
from offshelf.jobs.compare.fit_command import FitCommand
from offshelf.jobs.setup.page_files import write_html
from offshelf.report.page_frame import Frame, framed, plain, prose
from offshelf.report.sortable_table import STYLE, sortable_table
from offshelf.report.summary import failure_lines, seconds_line
from offshelf.text import counted, shown
from offshelf.version import __version__

# A browser lays out no more rows at once in comfort.
MOST_ROWS = 500
_FALLING = (
    *("accuracy", "95 % interval", "low", "high", "balanced", "p (Holm)", "without leaks"),
    *("LogME", "H-score"),
)
_STYLE = (
    STYLE
    + """
.headline { font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; }
main ul { margin: .3rem 0 .8rem; padding-left: 1.2rem; max-width: 60rem; }
main li { margin: .15rem 0; overflow-wrap: anywhere; }
pre { border: 1px solid var(--line); border-radius: 6px; background: var(--soft);
  padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; }
figure.chart { width: auto; max-width: 56rem; margin: 1rem 0 1.6rem; overflow-x: auto;
  scrollbar-width: thin; }
figure.chart img { width: 100%; min-width: 40rem; height: auto;
  border-radius: 6px; background: #fff; }
dl { max-width: 60rem; }
dt { font-weight: 600; }
dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
  figure.chart img { filter: invert(.88) hue-rotate(180deg); }
}
"""
)
_TESTS = {
    "mcnemar": "McNemar's exact test on the test images that exactly one of two rows labels "
    "rightly",
    "corrected_t": "the t-test over the folds or repeats, with the variance corrected for the "
    "training images that these share (Nadeau and Bengio, 2003)",
}
_COLUMNS = (
    ("95 % interval", "of the accuracy: Wilson's on one split, else that of the corrected t-test."),
    ("balanced", "the mean recall of the classes."),
    ("p (Holm)", "of the paired test against the best row, corrected for the number of rows."),
    ("verdict", "= best: the test images cannot tell the row from the best one."),
    ("image", "milliseconds from an image file to its features, with this machine."),
    (
        "fit, predict, stored",
        "to train the head; to label an image from its features; bytes of "
        "the features of all images.",
    ),
    ("size", "bytes of the weights files of the networks, and of what the head has learned."),
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page says; the fields are those of a comparison.

    Attributes:
        data: the images, as they were named.
        protocol: how accuracy was measured, on one line.
        test: the paired test.
        rows: the best first.
        findings: what the rows say, one line each, the best row first.
        fit: the command line that makes the best row.
        failures: images that could not be used.
        seconds: by stage.
    """

    data: str
    protocol: str
    test: str
    rows: tuple[Row, ...]
    findings: tuple[str, ...]
    fit: FitCommand
    failures: tuple[Mapping[str, str], ...]
    seconds: Mapping[str, float]


def write_page(result: Page, path: str | Path) -> Path:
    """Write a comparison as one HTML file with its pictures, and return its path.

    The file loads nothing and runs nothing, also to sort the table.

    Raises:
        OffshelfError: the file cannot be written there.
    """
    return write_html(Path(path), comparison_page(result))


def comparison_page(result: Page) -> str:
    """Return the page as HTML, pure ASCII."""
    name = Path(result.data).name or result.data
    facts = [
        f"{counted(len(result.rows), 'row')}, {result.protocol}.",
        *(f"{line[0].upper()}{line[1:]}." for line in common_line(result.rows)),
    ]
    made = f"offshelf {__version__}. This page loads nothing from anywhere and runs nothing."
    frame = Frame(f"Comparison of {name}", facts, [made], _STYLE)
    return framed(
        frame,
        [*_found(result), *_model(result), *_rows(result), *_charts(result.rows), *_how(result)],
    )


def _found(result: Page) -> Iterator[str]:
    first, *others = result.findings
    yield f'<p class="headline">{prose(first[0].upper() + first[1:])}</p>'
    yield "<ul>"
    yield from (f"<li>{prose(line)}</li>" for line in others)
    yield "</ul>"


def _model(result: Page) -> Iterator[str]:
    yield f"<h2>A model of {plain(result.fit.title)}</h2>"
    if result.fit.text:
        yield f"<pre><code>{prose(result.fit.text)}</code></pre>"
    yield from (f"<p>{prose(note)}</p>" for note in result.fit.notes)


def _rows(result: Page) -> Iterator[str]:
    kept = result.rows[:MOST_ROWS]
    yield "<h2>Rows</h2>"
    yield "<p>A click on a heading sorts. Rows in bold cannot be told from the best.</p>"
    marked = [bool(row.verdict and row.verdict.same) for row in kept]
    yield from sortable_table(page_table(kept), _FALLING, marked)
    if left := len(result.rows) - len(kept):
        yield f"<p>{left:,} more rows; a file of --out that ends in .csv has all.</p>"
    yield from _commands(kept)


def _commands(rows: tuple[Row, ...]) -> Iterator[str]:
    """Yield a list, closed at first, of the rows and the commands that make them."""
    made = [row for row in rows if row.command]
    if not made:
        return
    axes = naming(rows)
    yield "<details><summary>The fit command of each row</summary><dl>"
    for row in made:
        yield f"<dt>{prose(name_of(row, axes))}</dt>"
        yield f"<dd><code>{prose(row.command)}</code></dd>"
    yield "</dl></details>"


def _charts(rows: tuple[Row, ...]) -> Iterator[str]:
    yield "<h2>Pictures</h2>"
    for kind in available(rows):
        content = base64.b64encode(picture(rows, kind)).decode("ascii")
        alt = plain(f"accuracy: {kind.replace('_', ' ')}")
        image = f'<img alt="{alt}" src="data:image/png;base64,{content}">'
        yield f'<figure class="chart">{image}</figure>'


def _how(result: Page) -> Iterator[str]:
    yield "<h2>What was measured, and how</h2>"
    yield (
        f"<p>Data: {prose(shown(result.data))}; {prose(result.protocol)}. Every network ran once "
        "over the images; each head was trained on the features of the training images of a fold "
        "and labelled its test images. Whatever is chosen is chosen on training images alone.</p>"
    )
    yield (
        f"<p>A difference is called real where {_TESTS[result.test]} gives p of at most 0.05 after "
        "Holm's correction for all rows. Sentences on an axis compare rows that are equal in all "
        "else. The best row was chosen by these test images, so its accuracy is on the optimistic "
        "side.</p>"
    )
    yield "<dl>"
    yield from (f"<dt>{plain(name)}</dt><dd>{prose(text)}</dd>" for name, text in _COLUMNS)
    yield "</dl>"
    if result.failures:
        yield "<ul>"
        yield from (f"<li>{prose(line)}</li>" for line in failure_lines(result.failures))
        yield "</ul>"
    yield f"<p>Time: {prose(seconds_line(result.seconds))}.</p>"
