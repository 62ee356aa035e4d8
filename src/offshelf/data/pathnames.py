"""Paths as tables and lists write them: from Windows, from a Mac, and as they are here."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

BACKSLASHES = "backslashes in its paths are taken as folders"
COMPOSITION = "some file names have accents composed in another way than its paths"


def located(base: Path, text: str) -> tuple[Path, str]:
    r"""Return where *text*, relative to *base*, is, and what had to be changed to find it.

    The path as it stands comes first. Where there is none, backslashes are taken as
    folders, and then each name in composed and decomposed form; where none of these
    exists either, it is the path as it stands.

    >>> located(Path("data"), "coast/1.png")
    (PosixPath('data/coast/1.png'), '')
    """
    literal = base / text
    if ("\\" not in text and text.isascii()) or os.path.lexists(literal):
        return literal, ""
    changed = text.replace("\\", "/")
    if changed != text and os.path.lexists(base / changed):
        return base / changed, BACKSLASHES
    found = _recomposed(base, changed)
    return (found, COMPOSITION) if found else (literal, "")


def _recomposed(base: Path, text: str) -> Path | None:
    """Return the path whose names exist but for how their accents are composed."""
    place = base
    for part in Path(text).parts:
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        found = next((place / form for form in forms if os.path.lexists(place / form)), None)
        if found is None:
            return None
        place = found
    return place
