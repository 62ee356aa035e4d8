"""Paths as tables and lists write them: from Windows, from a Mac, and as they are here."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from offshelf.errors import DataError
from offshelf.text import shown

BACKSLASHES = "backslashes in its paths are taken as folders"
COMPOSITION = "some file names have accents composed in another way than its paths"


def located(base: Path, text: str) -> tuple[Path, str]:
    r"""Return where *text*, relative to *base*, is, and what had to be changed to find it.

    The path as it stands comes first. Where there is none, backslashes are taken as
    folders, and then each name in composed and decomposed form; where none of these
    exists either, it is the path as it stands. ``~/`` is the home folder.

    >>> located(Path("data"), "coast/1.png")
    (PosixPath('data/coast/1.png'), '')
    """
    literal = base / on_disk(text)
    if text.startswith("~/") and not os.path.lexists(literal):
        return Path(os.path.expanduser(on_disk(text))), ""  # noqa: PTH111 (never raises)
    if ("\\" not in text and text.isascii()) or os.path.lexists(literal):
        return literal, ""
    changed = text.replace("\\", "/")
    if changed != text and os.path.lexists(base / on_disk(changed)):
        return base / on_disk(changed), BACKSLASHES
    found = _recomposed(base, changed)
    return (found, COMPOSITION) if found else (literal, "")


def check_no_address(where: str, text: str) -> None:
    """Refuse the address of a web page or of a bucket in place of a path.

    Args:
        where: the table or list, as messages call it.
        text: the first of its paths.

    Raises:
        DataError: *text* begins like ``https://``.

    >>> check_no_address("list.csv", "coast/1.png")
    """
    if "://" in text:
        raise DataError(
            f"{where}: its paths are addresses, the first is '{shown(text)}'; download the "
            "images, and give the paths of their files"
        )


def on_disk(text: str) -> str:
    """Return *text* as a name that files can be opened by, where the locale has no such letters.

    >>> on_disk("1.png")
    '1.png'
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return os.fsdecode(text.encode("utf-8", "surrogateescape"))
    return text


def _recomposed(base: Path, text: str) -> Path | None:
    """Return the path whose names exist but for how their accents are composed."""
    place = base
    for part in Path(text).parts:
        words = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        forms = map(on_disk, words)
        found = next((place / form for form in forms if os.path.lexists(place / form)), None)
        if found is None:
            return None
        place = found
    return place
