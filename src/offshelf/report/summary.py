"""Summaries of results as text: accuracy, classes, probabilities, failures and times."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from offshelf.features.extraction import Extraction
from offshelf.measurement.metrics import Evaluation
from offshelf.measurement.probability_metrics import Trust
from offshelf.report.tables.confusion_matrix import confusion_matrix
from offshelf.report.tables.result_rows import Table, confusion_table, per_class_table
from offshelf.text import aligned, duration, shown

MAX_CLASSES = 20
WORST = 10
CONFUSIONS, MANY_CONFUSIONS = 5, 10
UNTRAINED = "UNTRAINED network (random weights): this says nothing about your images"


def facts_text(pairs: Iterable[tuple[str, str]]) -> str:
    r"""Return one line for each pair of a name and a text, the texts aligned.

    >>> print(facts_text([("images", "12"), ("file", "a\nb")]))
    images  12
    file    a\nb
    """
    return "\n".join(aligned(pairs))


def classes_blocks(evaluation: Evaluation) -> Iterator[Table | str]:
    """Yield tables of the classes that have images, of what was predicted as what, and the worst.

    Of more than 20 classes only the 10 with the lowest F1 and the 10 largest confusions.
    """
    present = tuple(row for row in evaluation.per_class if row.n)
    worst = tuple(sorted(present, key=lambda row: row.f1)[:WORST])
    rows = worst if len(present) > MAX_CLASSES else present
    table = per_class_table(dataclasses.replace(evaluation, per_class=rows))
    if rows is worst:
        title = f"The {WORST} of {len(present)} classes with the lowest F1 (--json has all)"
        table = dataclasses.replace(table, title=title)
    yield table
    matrix = confusion_matrix(evaluation)
    confused = confusion_table(evaluation, limit=CONFUSIONS if matrix else MANY_CONFUSIONS)
    for more in (matrix, confused):
        if more is not None and more.rows:
            yield ""
            yield more


def accuracy_facts(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """Return the figures of all classes together, for :func:`facts_text`."""
    share, (low, high) = 100 * evaluation.accuracy, evaluation.accuracy_interval
    absent = sum(not row.n for row in evaluation.per_class)
    missing = f" ({absent} of the classes have no images here)" if absent else ""
    recall = 100 * evaluation.balanced_accuracy
    return (
        ("accuracy", f"{share:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f} %)"),
        ("balanced", f"{recall:.2f} %, the mean recall of the classes{missing}"),
    )


def probability_facts(found: Trust) -> Iterator[tuple[str, str]]:
    """Yield the figures of probabilities and rejections, for :func:`facts_text`."""
    if found.reliability:
        measured = found.reliability
        off = measured.confidence - measured.accuracy
        sure = "too sure" if off > 0 else "too unsure"
        yield (
            "log loss",
            f"{measured.log_loss:.3f}; expected calibration error {100 * measured.ece:.2f} % "
            f"(on average {100 * abs(off):.2f} points {sure})",
        )
    if found.rejection:
        rejection = found.rejection
        rest = rejection.accuracy
        yield (
            "unknown",
            f"{100 * rejection.share:.2f} % of these images of known classes rejected; "
            + (f"accuracy on the others {100 * rest:.2f} %" if rest is not None else "no others"),
        )
    if found.unlike:
        share = 100 * found.unlike.share
        yield "unlike", f"{share:.2f} % of these images marked as unlike the training images"


def failure_lines(failures: Sequence[Mapping[str, str]], limit: int = 20) -> list[str]:
    """Return one line per image that was left out, and how many more there are.

    >>> failure_lines([{"path": "a.jpg", "status": "empty", "reason": "no bytes"}])
    ['left out: a.jpg: empty, no bytes']
    """
    lines = [
        f"left out: {shown(f['path'])}: {f['status']}, {f['reason']}" for f in failures[:limit]
    ]
    if len(failures) > limit:
        counts = collections.Counter(f["status"] for f in failures)
        each = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        more = len(failures) - limit
        lines.append(f"left out: {more} more; in all {each}; --json lists them all")
    return lines


def reservations(failures: Sequence[Mapping[str, str]], trained: bool) -> list[str]:
    """Return the lines below a result: images left out, and an untrained network."""
    return failure_lines(failures) + ([] if trained else [UNTRAINED])


def seconds_line(seconds: Mapping[str, float]) -> str:
    """Return the time of a job on one line, with the stages that took any.

    >>> seconds_line({"read": 0.01, "extract": 1.5, "fit": 0.5, "total": 2.0})
    '2.0 s (extract 1.5 s, fit 0.5 s)'
    """
    stages = {name: value for name, value in seconds.items() if name != "total" and value >= 0.1}
    listed = ", ".join(f"{stage} {duration(value)}" for stage, value in stages.items())
    total = duration(seconds.get("total", sum(seconds.values())))
    return f"{total} ({listed})" if listed else total


def profile_line(extraction: Extraction) -> str:
    """Return where an extraction's processor time went, on one line."""
    if not extraction.computed:
        return "processor time: no shares, as no image went through the network"
    profile = extraction.profile
    shares = ", ".join(f"{stage} {100 * share:.0f} %" for stage, share in profile.shares().items())
    return (
        f"processor time: {shares}; "
        f"the network waited for images {profile.starved:.1f} s of {profile.wall:.1f} s"
    )
