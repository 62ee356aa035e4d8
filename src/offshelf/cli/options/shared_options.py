"""Options that several commands share, and the settings they become."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from offshelf.cli.terminal.parser import memory_size, whole_number

if TYPE_CHECKING:
    from offshelf.engine.contract import EngineOptions
    from offshelf.jobs.setup.settings import FeatureSettings, RunSettings

# Predictions are made without a cache, too, and the doctor reports what is wrong with it.
WITHOUT_CACHE = ("predict", "classify", "doctor")
_FOLDERS = (
    "a folder with train/ and test/ (or val/, or other words for them) that hold one folder per "
    "class; a folder of class folders"
)
_TABLE = "; or a CSV or Parquet file with columns path, label and perhaps split"
_LABELS = " (a column labels in place of label: several of an image, with ; between them)"
DATA_HELP = _FOLDERS + _TABLE
SPLIT_DATA_HELP = f"{_FOLDERS} (then split by --seed and --test-size){_TABLE}"

IMAGES_HELP = (
    "images, folders of images, patterns such as 'photos/*.jpg', and lists of paths, one a line: a "
    ".txt file, or - for standard input"
)


def add_data(parser: argparse.ArgumentParser, text: str) -> None:
    """Add DATA of a command that takes several labels of an image, too."""
    parser.add_argument("data", metavar="DATA", help=text + _LABELS)


def add_word(
    parser: argparse._ActionsContainer, *names: str, default: str, text: str, metavar: str = "NAME"
) -> None:
    """Add an option of one word; its help is *text* and the default."""
    parser.add_argument(*names, default=default, metavar=metavar, help=f"{text} (%(default)s)")


def add_count(
    parser: argparse._ActionsContainer,
    *names: str,
    bounds: tuple[int, int],
    text: str,
    default: int | None = None,
    metavar: str = "N",
) -> None:
    """Add an option of a whole number within *bounds*; its help is *text* and the default."""
    known = "" if default is None else " (%(default)s)"
    parser.add_argument(
        *names, type=whole_number(*bounds), default=default, metavar=metavar, help=text + known
    )


def add_backbone(parser: argparse.ArgumentParser) -> None:
    """Add which network and weights."""
    group = parser.add_argument_group("network")
    text = "a name of 'offshelf backbones', timm/NAME or torchvision/NAME"
    add_word(group, "-b", "--backbone", default="efficientnet_lite0", text=text)
    add_weights(group)
    text = "side of the network's input in pixels, where it takes others than that of its weights"
    add_count(group, "--input-size", bounds=(32, 1024), text=text)
    group.add_argument(
        "--decode",
        metavar="MODE",
        help="full (default), or reduced: large JPEG photos are decoded at a fraction of their "
        "scale, at least twice what the network sees: of 12 megapixels about 1.5 times as fast; "
        "features keep a cosine of about 0.999 to the full ones; PNG and WebP are read in full",
    )
    group.add_argument(
        "--resize",
        metavar="MODE",
        help="squash (stretch the whole image to the square; default), crop (short side, then "
        "centre) or letterbox (keep the shape, fill the rest)",
    )
    group.add_argument(
        "--grey",
        metavar="MODE",
        help="replicate (grey as three equal channels, colour as it is; default), luma (colour "
        "removed, to measure what it is worth) or summed (the features of luma, with the first "
        "convolution summed over colour)",
    )


def add_features(parser: argparse._ActionsContainer) -> None:
    """Add layers of one or several networks that make one row of features."""
    parser.add_argument(
        "--features",
        metavar="PARTS",
        help="layers side by side in place of --layer: penultimate+stage6/pyramid, "
        "BACKBONE:LAYER+BACKBONE:LAYER, with BACKBONE@SIZE for larger inputs, and * in place of + "
        "for a product; layers of one network cost one pass",
    )


def add_flips(parser: argparse._ActionsContainer) -> None:
    """Add where mirror images are used."""
    parser.add_argument(
        "--flips",
        default="none",
        metavar="WHERE",
        help="mirror images: none, in training (each image and its mirror image), in prediction "
        "(their scores averaged) or both; they cost a second pass (%(default)s)",
    )


def add_layer(parser: argparse.ArgumentParser) -> None:
    """Add which features of the network."""
    text = "a layer of 'offshelf layers', or a module path"
    add_word(parser, "-l", "--layer", default="penultimate", text=text)
    text = "flatten, avg, max, gem, pyramid or pyramid:N"
    add_word(parser, "--pooling", default="avg", text=text)
    add_features(parser)


def add_layers(parser: argparse._ActionsContainer, several: str, required: bool = False) -> None:
    """Add one or more layers; *several* says what more of them do."""
    parser.add_argument(
        "-l",
        "--layer",
        action="append",
        default=[],
        required=required,
        metavar="NAME",
        help=f"a layer of 'offshelf layers', or a module path; repeat for {several}",
    )


def add_poolings(parser: argparse._ActionsContainer) -> None:
    """Add one or more poolings."""
    parser.add_argument(
        "--pooling",
        action="append",
        default=[],
        metavar="NAME",
        help="flatten, avg, max, gem, pyramid or pyramid:N; repeat for several (avg)",
    )


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add whether an image that cannot be used is a failure."""
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when an image could not be used"
    )


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add whether the processor time of each stage is printed."""
    parser.add_argument("--profile", action="store_true", help="show the processor time by stage")


def add_test_size(parser: argparse._ActionsContainer) -> None:
    """Add how much is held out of data without a split."""
    parser.add_argument(
        "--test-size",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="share of the images to test on, where DATA has no split of its own (%(default)s)",
    )


def add_classes(parser: argparse._ActionsContainer) -> None:
    """Add which folders of DATA are its classes."""
    parser.add_argument(
        "--classes",
        choices=("outer", "inner"),
        metavar="LEVEL",
        help="outer or inner: which folders of DATA are the classes, where folders lie in folders "
        "(default: found by itself; where that is uncertain, the command stops and says so)",
    )


def add_corrections(parser: argparse._ActionsContainer) -> None:
    """Add the decisions of a person about labels."""
    parser.add_argument(
        "--corrections",
        metavar="FILE",
        help="a .csv file that 'offshelf audit --corrections' wrote: images are relabelled or left "
        "out as its column decision says",
    )


def add_groups(parser: argparse._ActionsContainer) -> None:
    """Add whose images stay together."""
    parser.add_argument(
        "--groups",
        metavar="WHAT",
        help="images of a group stay together in every split: a column of DATA, FILE:COLUMN of "
        "another .csv or .parquet file, a regular expression on file names, or none (default: the "
        "column 'group', where DATA has one)",
    )


def add_weights(parser: argparse._ActionsContainer) -> None:
    """Add where the weights come from."""
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="a weights file, the tag of a known one, or 'random' (an untrained network); "
        "default: search this machine, then download",
    )
    parser.add_argument("--no-download", action="store_true", help="never download weights")


def add_running(parser: argparse.ArgumentParser, precision: bool = True) -> None:
    """Add how the network runs, where results are kept, and what is printed.

    Without *precision* the command has its own way to choose that.
    """
    group = parser.add_argument_group("running")
    add_device(group)
    if precision:
        text = (
            "fp32, int8 (calibrated on your training images), auto (int8, bf16 or fp16 where a "
            "sample shows that it costs nothing), bf16 or fp16 where the hardware has them"
        )
        add_word(group, "--precision", default="fp32", text=text)
    text = "images in one batch on a CUDA or Apple device; on a CPU it is chosen for the network"
    add_count(group, "--batch-size", bounds=(1, 4096), text=text)
    add_workers(group)
    add_cache(group)
    add_cache_size(group)
    _add_bounds(group)
    add_output(parser)


def add_device(group: argparse._ActionsContainer) -> None:
    """Add what runs the network."""
    add_word(group, "--engine", default="auto", text="auto, openvino or torch")
    add_word(group, "--device", default="auto", text="auto, cpu, cuda, cuda:1, mps")


def add_workers(group: argparse._ActionsContainer) -> None:
    """Add how many threads read images."""
    text = "threads that read and decode images (default: one per processor)"
    add_count(group, "--workers", bounds=(1, 256), text=text)


def _add_bounds(group: argparse._ActionsContainer) -> None:
    text = "refuse images with more pixels (default: 178,956,970, the most that Pillow opens)"
    add_count(group, "--max-pixels", bounds=(1, 178956970), text=text)
    group.add_argument(
        "--max-memory",
        type=memory_size,
        metavar="SIZE",
        help="memory for decoding images, over all threads of a process: 800M, 2G (billions of "
        "bytes), ...; an image that needs more alone is left out (default: a quarter of the "
        "machine's)",
    )
    group.add_argument(
        "--rehash",
        action="store_true",
        help="read every image and train every head again (default: an image whose size, times and "
        "inode are as they were at the last reading is not read where its features are kept, and "
        "what was trained on the same features is known)",
    )
    group.add_argument(
        "--keep-damaged",
        action="store_true",
        help="use what can be read of damaged and truncated images (default: they are left out)",
    )


def add_cache(parser: argparse._ActionsContainer) -> None:
    """Add the folder of everything that is kept."""
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="where weights, features and compiled networks are kept "
        "(default: $OFFSHELF_CACHE_DIR or the user's cache folder)",
    )


def check_cache(command: str, options: argparse.Namespace) -> None:
    """Refuse a cache folder that cannot be one, unless the command goes on without.

    Raises:
        OffshelfError: it is a file, or cannot be made.
    """
    from offshelf.cache import check_root

    if "cache_dir" in options and command not in WITHOUT_CACHE:
        check_root(options.cache_dir)


def add_cache_size(parser: argparse._ActionsContainer) -> None:
    """Add how much is kept."""
    parser.add_argument(
        "--cache-size",
        metavar="SIZE",
        help="largest size of the cache, such as 20G, or none for no limit; what was used least "
        "recently is removed first, weights never (default: $OFFSHELF_CACHE_SIZE, or 20G or a "
        "tenth of the disk, whichever is more)",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add what makes a run repeatable."""
    text = "seed of all random choices"
    add_count(parser, "--seed", bounds=(0, 2**32 - 1), text=text, default=0)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add what is printed."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    group.add_argument("--quiet", action="store_true", help="no progress and no notes on stderr")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def feature_settings(options: argparse.Namespace) -> FeatureSettings:
    """Return which features the options ask for; lists of layers and poolings are not in it."""
    from offshelf.jobs.setup.settings import FeatureSettings

    given = _given(options, "weights", "resize", "grey", "decode", "features", "input_size")
    words = _given(options, "layer", "pooling", "flips")
    given |= {name: one for name, one in words.items() if isinstance(one, str)}
    return FeatureSettings(options.backbone, download=not options.no_download, **given)


def run_settings(options: argparse.Namespace) -> RunSettings:
    """Return how the options want the work done."""
    from offshelf.data.decode import Limits
    from offshelf.features.reader import ReadOptions
    from offshelf.jobs.setup.settings import RunSettings

    limits = Limits(**_given(options, "max_pixels", "max_memory", "keep_damaged"))
    reading = ReadOptions(limits=limits, **_given(options, "workers", "rehash"))
    given = _given(options, "seed", "test_size", "samples", "classes", "corrections", "groups")
    return RunSettings(engine=engine_options(options), reading=reading, **given)


def engine_options(options: argparse.Namespace) -> EngineOptions:
    """Return the engine that the options ask for."""
    from offshelf.engine.contract import EngineOptions

    names = ("engine", "device", "precision", "batch_size", "cache_dir", "cache_size")
    return EngineOptions(**_given(options, *names))


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the options of these names that the command has and that have a value."""
    found = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}
