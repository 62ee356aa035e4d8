"""``offshelf compare``: which backbone, layer and head, and whether the difference is real."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console
from offshelf.cli.terminal.parser import strength, whole_number
from offshelf.heads.kinds.registry import names_and_sizes

if TYPE_CHECKING:
    from offshelf.jobs.compare.comparison import Comparison
    from offshelf.jobs.compare.job import CompareSettings
    from offshelf.progress import Progress

SUMMARY = "measure which backbone, layer and head do best, beyond chance"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DATA", help=shared_options.SPLIT_DATA_HELP)
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="write the rows to this file: .md, .csv, .txt, .tex, .json or .parquet; .html is a "
        "page with what came out, the table and pictures",
    )
    shared_options.add_classes(parser)
    shared_options.add_corrections(parser)
    parser.add_argument(
        "--pictures", metavar="FOLDER", help="write charts of the rows to this folder, as PNG"
    )
    _add_model(parser)
    _add_networks(parser)
    _add_heads(parser)
    _add_protocol(parser)
    shared_options.add_running(parser, precision=False)


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--fit",
        metavar="MODEL",
        help="write the model of the best row, or of the preferred one, to this .offshelf file",
    )
    text = (
        "of the rows that cannot be told from the best, take the best in accuracy, in speed "
        "(milliseconds for an image) or in size (bytes of the weights and of what the head has "
        "learned)"
    )
    shared_options.add_word(group, "--prefer", default="accuracy", text=text, metavar="WHAT")
    group.add_argument(
        "--commands", action="store_true", help="also print the fit command of each row"
    )


def words(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas.

    >>> words("svm, ridge")
    ('svm', 'ridge')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())


def strengths(text: str) -> tuple[float | str, ...]:
    """Return values of C; ``auto`` is one.

    >>> strengths("0.1,auto")
    (0.1, 'auto')
    """
    return tuple(strength(word) for word in words(text))


def _axis(
    group: argparse._ArgumentGroup, names: list[str], default: str, text: str, **more: str
) -> None:
    group.add_argument(
        *names,
        type=words,
        default=words(default),
        metavar="LIST",
        help=f"{text} ({default or 'none'})",
        **more,  # type: ignore[arg-type]
    )


def _add_networks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("features: comma-separated lists; every combination is a row")
    _axis(group, ["-b", "--backbones"], "efficientnet_lite0", "names of 'offshelf backbones'")
    _axis(
        group,
        ["-l", "--layers"],
        "deepest",
        "names, 'all' (one of each stage) or 'deepest' (the last before the classifier that "
        "the weights reach)",
    )
    _axis(group, ["--poolings"], "avg", "flatten, avg, max, gem, pyramid, pyramid:N")
    _axis(group, ["--resizes"], "", "squash, crop, letterbox; none for the weights' own")
    _axis(group, ["--weights"], "trained", "trained, random (no pretraining)")
    scaling = "weights (ImageNet's mean and deviation), none (pixels in 0 to 1)"
    _axis(group, ["--scaling"], "weights", scaling, dest="scalings")
    grey = (
        "replicate (colour as it is, grey as three equal channels), luma (colour removed, to "
        "measure what it is worth), summed (as luma, with the first convolution summed over colour)"
    )
    _axis(group, ["--grey"], "replicate", grey, dest="greys")
    _axis(group, ["--precisions"], "fp32", "fp32, int8, or what the hardware has")
    flips = (
        "mirror images: none, in training (each image and its mirror image), in prediction (their "
        "scores averaged), or both"
    )
    _axis(group, ["--flips"], "none", flips)
    sizes = "sides of the network's input in pixels; none for the weights' own"
    _axis(group, ["--input-sizes"], "", sizes)
    group.add_argument(
        "--concat",
        action="append",
        default=[],
        metavar="PARTS",
        help="also layers side by side, BACKBONE:LAYER+LAYER/POOLING, "
        "BACKBONE:LAYER+BACKBONE:LAYER (with * their product, sketched in 2,048 dimensions), or "
        "'all' for the deepest of every backbone; may be given several times",
    )
    group.add_argument("--no-download", action="store_true", help="never download weights")


def _add_heads(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("heads: comma-separated lists; every combination is a row")
    _axis(group, ["--heads"], "svm", names_and_sizes())
    group.add_argument(
        "--C",
        dest="cs",
        type=strengths,
        default=(1.0,),
        metavar="LIST",
        help="values, or auto: chosen by cross-validation on the training images from 0.01 to 100, "
        "and beyond while that is better (1)",
    )
    _axis(group, ["--normalisations"], "l2", "l2, none, standard, sqrt")
    _axis(group, ["--reductions"], "none", "none, pca:64, whiten:64, random:64")
    _axis(group, ["--class-weights"], "none", "none, balanced")
    group.add_argument(
        "--transfer",
        action="store_true",
        help="also LogME, H-score and the leave-one-out error of ridge, and whether they would "
        "have chosen",
    )
    group.add_argument("--yes", action="store_true", help="run a very large grid without asking")


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protocol")
    text = "given (the split of DATA), k-fold or repeats"
    shared_options.add_word(group, "--protocol", default="given", text=text)
    counts = (
        ("--folds", 5, "folds of k-fold"),
        ("--repeats", 10, "random splits with --protocol repeats"),
        ("--per-class", 100, "training images per class with --protocol repeats"),
    )
    for name, default, text in counts:
        group.add_argument(
            name,
            type=whole_number(1, 10**6),
            default=default,
            metavar="N",
            help=f"{text} (%(default)s)",
        )
    group.add_argument(
        "--groups",
        metavar="PATTERN",
        help="images of a group stay on one side: a column of DATA, FILE:COLUMN, a regular "
        "expression on file names, or none (default: the column 'group', where DATA has one)",
    )
    read, write = "use the splits of this file", "write the splits (.json or .csv)"
    group.add_argument("--splits", dest="splits_from", metavar="FILE", help=read)
    group.add_argument("--write-splits", dest="splits_to", metavar="FILE", help=write)
    shared_options.add_test_size(group)
    shared_options.add_seed(parser)


def perform(arguments: argparse.Namespace, progress: Progress) -> Comparison:
    """Do what the arguments say."""
    from offshelf.jobs.compare.comparison import check_out, check_pictures
    from offshelf.jobs.compare.job import compare

    if arguments.out:
        check_out(arguments.out)
    if arguments.pictures:
        check_pictures(arguments.pictures)
    return compare(
        arguments.data,
        _settings(arguments),
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def write(arguments: argparse.Namespace, result: Comparison) -> list[Path]:
    """Write the rows and the charts where the arguments ask for them."""
    written = [result.model.path] if result.model and result.model.path else []
    if arguments.out:
        written.append(result.write(Path(arguments.out)))
    if arguments.pictures:
        written += result.write_pictures(Path(arguments.pictures))
    return written


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    written = write(arguments, result)
    if arguments.json:
        console.print_json({**result.to_json(), "written": [str(path) for path in written]})
    else:
        console.say(str(result))
        if arguments.commands:
            console.say("\n".join(["", *result.command_lines()]))
        for path in written:
            console.say(f"written: {path}")
    return 1 if arguments.fit and result.model is None else 0


def _size(word: str) -> int | None:
    if word == "none":
        return None
    return int(word) if word.isascii() and word.isdecimal() else word  # type: ignore[return-value]


def _settings(arguments: argparse.Namespace) -> CompareSettings:
    from offshelf.jobs.compare.grid import HeadAxes, NetworkAxes, ProtocolSettings
    from offshelf.jobs.compare.job import CompareSettings

    given = vars(arguments)
    given["resizes"] = given["resizes"] or (None,)
    given["input_sizes"] = tuple(map(_size, given["input_sizes"])) or (None,)
    given["class_weights"] = tuple(None if w == "none" else w for w in given["class_weights"])
    given["kind"] = given["protocol"]
    built: Any = (
        kind(**{field.name: given[field.name] for field in dataclasses.fields(kind)})
        for kind in (NetworkAxes, HeadAxes, ProtocolSettings)
    )
    networks, heads, protocol = built
    return CompareSettings(
        networks=networks,
        heads=heads,
        protocol=protocol,
        concat=tuple(arguments.concat),
        transfer=arguments.transfer,
        yes=arguments.yes,
        download=not arguments.no_download,
        fit=arguments.fit,
        prefer=arguments.prefer,
    )
