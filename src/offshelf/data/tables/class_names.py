"""Class names and split words: when two classes are the same, and which words name a split."""

from __future__ import annotations

import unicodedata

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
