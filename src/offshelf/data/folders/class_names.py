"""Names of classes and splits: what folder names and cells of tables say."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from offshelf.text import spelled

TRAIN, TEST, VAL = "train", "test", "val"
HELD_OUT = "held out"  # test images, unless others are called so
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
    **dict.fromkeys(("val", "valid", "validate", "validating", "validation", "dev"), VAL),
    **dict.fromkeys(("eval", "evaluation", "holdout", "heldout"), HELD_OUT),
}


def split_word(word: str) -> str:
    """Return ``train``, ``test``, ``val`` or ``held out`` for a word that means it, else "".

    >>> split_word(" Validation "), split_word("Test"), split_word("eval"), split_word("coast")
    ('val', 'test', 'held out', '')
    """
    return SPLIT_WORDS.get(word.strip().lower(), "")


def composed(name: str) -> str:
    r"""Return *name* with each accent and its letter as one character, as class names are.

    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", spelled(name))


def same_class_key(name: str) -> str:
    """Return what two class names share when they differ only in case or spaces.

    Composed and decomposed accents (the folder names of a Mac) count as equal too.
    Underscores and hyphens are kept: ``a_1`` and ``a1`` may well be two classes.

    >>> same_class_key("Living Room") == same_class_key("livingroom")
    True
    >>> same_class_key("living_room") == same_class_key("livingroom")
    False
    """
    return "".join(unicodedata.normalize("NFC", composed(name).casefold()).split())


def class_number(name: str, classes: Sequence[str]) -> int | None:
    """Return the index of the class that *name* means: the same, or but for case and spaces.

    None where it is no class, or like several of them.

    >>> class_number("Living Room", ["kitchen", "livingroom"]), class_number("bath", ["kitchen"])
    (1, None)
    """
    if name in classes:
        return classes.index(name)
    key = same_class_key(name)
    alike = [number for number, one in enumerate(classes) if same_class_key(one) == key]
    return alike[0] if len(alike) == 1 else None


UNLABELLED = "unlabelled"
PLAIN, DECORATED, NAMED = 0, 1, 2

_ROLES = {
    **SPLIT_WORDS,
    **dict.fromkeys(("unlabeled", "unlabelled", "unlabel", "nolabel", "nolabels"), UNLABELLED),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions", "inference"), UNLABELLED),
}
# Words beside which a split is still a split: train_images, test-set-1, x_train, val2017.
_GENERIC = frozenset(
    {"data", "dataset", "datasets", "dir", "directory", "file", "files", "folder", "folders"}
    | {"image", "images", "img", "imgs", "jpeg", "jpg", "photo", "photos", "pic", "pics"}
    | {"picture", "pictures", "png", "sample", "samples", "set", "sets", "all"}
)
_DECORATIONS = (
    _GENERIC
    | {"class", "classes", "clean", "cropped", "final", "for", "full", "labeled", "labelled", "my"}
    | {"new", "original", "raw", "resized", "small", "split", "subset", "the", "to", "x", "y"}
)
_BATCHES = frozenset(
    {"archive", "batch", "batches", "block", "cam", "camera", "chunk", "collection", "data"}
    | {"dataset", "day", "delivery", "dir", "disc", "disk", "dump", "export", "fold", "folder"}
    | {"group", "import", "lot", "month", "pack", "package", "part", "piece", "round", "run"}
    | {"series", "section", "session", "set", "shard", "shoot", "site", "source", "split"}
    | {"subset", "tranche", "upload", "vol", "volume", "week", "zip"}
)
_IMAGES = frozenset({"data", "image", "images", "img", "imgs", "jpegimages", "jpg", "photos"})
# What lies beside images and is often pictures itself.
_COMPANIONS = frozenset(
    {"ann", "annotation", "annotations", "bboxes", "boxes", "depth", "ground truth", "groundtruth"}
    | {"gt", "label", "labels", "mask", "masks", "previews", "segmentation", "segmentations"}
    | {"thumbnails", "thumbs"}
)
_ORDINALS = frozenset({"first", "second", "third", "fourth", "fifth", "last", "old"}) | {
    *("one", "two", "three", "four", "five"),
}
_YEAR = re.compile(r"(19|20)\d\d")
_TWO_WORDS = re.compile(r"\b(hold|held|un|no) (out|labell?ed|labels?)\b")
_PIECES = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class Mark:
    """What the name of a folder says about a split.

    Attributes:
        role: ``train``, ``test``, ``val``, or ``held out`` (the test images where no other
            folder is called so) or ``unlabelled``.
        strength: ``PLAIN`` for the word alone, ``DECORATED`` with words that say nothing
            more (``training_set``), ``NAMED`` with others (``flowers_train``).
        rest: those other words.
    """

    role: str
    strength: int
    rest: tuple[str, ...] = ()


def split_mark(name: str) -> Mark | None:
    """Return what *name* says about a split, None for nothing.

    >>> split_mark("Training Set"), split_mark("coast")
    (Mark(role='train', strength=1, rest=()), None)
    >>> split_mark("flowers_test")
    Mark(role='test', strength=2, rest=('flowers',))
    """
    words = _words(name)
    places = [place for place, word in enumerate(words) if word in _ROLES]
    if [words[place] for place in places] in (["train", "val"], ["train", "valid"]):
        words[places[0]] = "trainval"
        del words[places.pop()]
    if len(places) != 1:
        return None
    role = _ROLES[words[places[0]]]
    others = words[: places[0]] + words[places[0] + 1 :]
    rest = tuple(word for word in others if word not in _DECORATIONS and not word.isdecimal())
    if rest:
        return Mark(role, NAMED, rest)
    return Mark(role, DECORATED if others else PLAIN)


def called_like_a_split(name: str) -> bool:
    """Return whether *name* alone would name a split, or unlabelled images.

    >>> called_like_a_split("test"), called_like_a_split("test_tube")
    (True, False)
    """
    mark = split_mark(name)
    return mark is not None and mark.strength < NAMED


def is_batch(name: str) -> bool:
    """Return whether *name* names a batch of a delivery, not a class.

    >>> is_batch("batch1"), is_batch("Part_A"), is_batch("2024-05-01"), is_batch("class_1")
    (True, True, True, False)
    """
    words = _words(name)
    telling = [word for word in words if word in _BATCHES or _YEAR.fullmatch(word)]
    others = [word for word in words if word not in telling]
    return bool(telling) and all(
        word.isdecimal() or len(word) == 1 or word in _ORDINALS or word in _DECORATIONS
        for word in others
    )


def is_generic(name: str) -> bool:
    """Return whether a folder name says nothing about its content: images, all_data.

    >>> is_generic("images"), is_generic("coast"), is_generic("7")
    (True, False, False)
    """
    words = _words(name)
    rest = [word for word in words if word not in _GENERIC]
    return len(rest) < len(words) and all(word.isdecimal() for word in rest)


def images_among(names: Collection[str]) -> str:
    """Return the folder of the images where the others hold masks or labels for them, or "".

    >>> images_among(["images", "masks"]), images_among(["image", "text"])
    ('images', '')
    """
    words = {name: " ".join(_words(name)) for name in names}
    images = [name for name in names if words[name] in _IMAGES]
    others = [name for name in names if words[name] in _COMPANIONS]
    return images[0] if images and others and len(images) + len(others) == len(names) else ""


def _words(name: str) -> list[str]:
    """Return the words of *name* in small letters, numbers apart, compounds undone."""
    text = _CAMEL.sub(" ", unicodedata.normalize("NFC", name))
    pieces = [piece.lower() for piece in _PIECES.findall(text)]
    text = _TWO_WORDS.sub(r"\1\2", " ".join(pieces))
    return [word for piece in text.split() for word in _uncompounded(piece)]


def _uncompounded(word: str) -> list[str]:
    """Split ``trainset`` and ``testimages`` into a split and a decoration."""
    if word in _ROLES or word in _DECORATIONS:
        return [word]
    for end in range(len(word) - 1, 2, -1):
        if word[:end] in _ROLES and word[end:] in _DECORATIONS - {"x", "y"}:
            return [word[:end], word[end:]]
    if word[:1] in ("x", "y") and word[1:] in _ROLES:
        return [word[:1], word[1:]]
    return [word]
