"""Names: when two classes are the same, which words name a split, how text is shown.

Every name that goes into a message passes through here, so that a message stays one
printable line whatever a file or class is called.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from offshelf.text import spelled

TRAIN, TEST, VAL = "train", "test", "val"
HELD_OUT = "held out"  # test images, unless others are called so
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
    **dict.fromkeys(("val", "valid", "validate", "validating", "validation", "dev"), VAL),
    **dict.fromkeys(("eval", "evaluation", "holdout", "heldout"), HELD_OUT),
}
_LISTED = 5


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


def shown(path: str | Path) -> str:
    r"""Return *path* as one printable line.

    >>> shown("a\nb.jpg")
    'a\\nb.jpg'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in spelled(os.fspath(path)))


def listed(names: Iterable[str]) -> str:
    """Return the first names in quotes, and how many more there are.

    >>> listed(["coast", "forest"])
    "'coast', 'forest'"
    >>> listed("abcdefg")
    "'a', 'b', 'c', 'd', 'e' and 2 more"
    """
    every = list(names)
    head = ", ".join(f"'{shown(name)}'" for name in every[:_LISTED])
    return head if len(every) <= _LISTED else f"{head} and {len(every) - _LISTED} more"


def counted(number: int, one: str, many: str = "") -> str:
    """Return the number with its noun.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "class", "classes")
    ('1 image', '1200 images', '2 classes')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
