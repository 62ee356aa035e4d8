"""Lists of paths, from a file or standard input, and patterns that no shell has expanded.

Paths are found as tables and lists write them: from Windows, from a Mac, and as they are here.
"""

from __future__ import annotations

import glob
import os
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from offshelf.data.folders.image_files import TABLE_SUFFIXES, is_image_name
from offshelf.errors import DataError, MissingPathError
from offshelf.text import counted, shown

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

    Raises:
        DataError: *text* begins like ``https://``; *where* names the table or list.

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


STANDARD_INPUT = "-"
LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# A picture may be called anything, even .txt.
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")


def is_list(source: str | Path) -> bool:
    """Return whether *source* is standard input, or a file that is a list of paths by its name.

    >>> is_list("-"), is_list("images.csv")
    (True, False)
    """
    if str(source) == STANDARD_INPUT:
        return True
    place = Path(source)
    is_file = os.path.isfile(place)  # noqa: PTH113 (never raises)
    return is_file and place.suffix.lower() in LIST_SUFFIXES and not _is_picture(place)


def is_pattern(source: str | Path) -> bool:
    """Return whether *source* is no file or folder, but may be a pattern for some.

    >>> is_pattern("photos-of-nobody/*.jpg"), is_pattern("coast.jpg")
    (True, False)
    """
    text = os.path.expanduser(source)  # noqa: PTH111 (never raises)
    return any(mark in str(text) for mark in "*?[") and not os.path.lexists(text)


def read_list(source: str | Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return the paths of a list, one a line or ended by NUL, and notes for a person.

    Paths are relative to the folder of the list, those of standard input to the working
    directory; so are those of a file where its own folder holds none of them. Some that
    do not exist are the business of the row ledger.

    Raises:
        DataError: the list cannot be read, holds no path, or none of them exists.
    """
    where, base, content = _content(source)
    entries = _entries(where, content)
    places, hows = _places(base, entries)
    notes = [*sorted(hows)]
    if not any(map(os.path.lexists, places)) and base != Path():
        others, more = _places(Path(), entries)
        if any(map(os.path.lexists, others)):
            places, notes = others, ["its paths are relative to the working directory", *more]
    if not any(map(os.path.lexists, places)):
        check_no_address(where, entries[0])
        folder = "the working directory" if base == Path() else "the folder of the file"
        raise MissingPathError(
            f"{where}: none of its {counted(len(places), 'path')} exists; paths are relative to "
            f"{folder}, the first is '{shown(places[0])}'",
            map(str, places),
        )
    return places, tuple(f"{where}: {note}" for note in notes)


def expanded(pattern: str | Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return the images, tables and folders that a pattern such as ``a/*.jpg`` matches, sorted.

    ``**`` is any folder below, and then only files are taken. Where no match is an image by
    its name, all of them are taken, as names that were typed are.

    Raises:
        DataError: nothing matches.
    """
    text = os.path.expanduser(pattern)  # noqa: PTH111 (never raises)
    found = sorted(set(glob.glob(str(text), recursive=True)))  # noqa: PTH207 (absolute ones, too)
    if not found:
        raise MissingPathError(
            f"{shown(pattern)}: no such file or folder, and as a pattern it matches none",
            [os.fspath(text)],
        )
    deep = "**" in str(text)
    kept = [one for one in found if _is_wanted(one, deep)]
    if not kept:
        return [Path(one) for one in found], ()
    files = sum(not os.path.isdir(one) for one in found if one not in set(kept))  # noqa: PTH112
    left = f"{shown(pattern)}: {counted(files, 'file')} left out, not images by their names"
    return [Path(one) for one in kept], (left,) if files else ()


def _is_wanted(match: str, deep: bool) -> bool:
    if os.path.isdir(match):  # noqa: PTH112 (hot loop)
        return not deep
    return is_image_name(match) or Path(match).suffix.lower() in TABLE_SUFFIXES


def _content(source: str | Path) -> tuple[str, Path, bytes]:
    """Return what to call a list, what its paths are relative to, and its bytes."""
    if str(source) == STANDARD_INPUT:
        return "standard input", Path(), _standard_input()
    file = Path(source)
    try:
        return shown(source), file.parent, file.read_bytes()
    except OSError as error:
        raise DataError(f"{shown(source)}: cannot be read: {error.strerror}") from error


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        return b""
    binary = getattr(sys.stdin, "buffer", None)
    if binary is not None:
        return bytes(binary.read())
    return sys.stdin.read().encode("utf-8", "surrogateescape")


def _entries(where: str, content: bytes) -> list[str]:
    if content.startswith(_UTF16):
        text = content.decode("utf-16", "replace")
    else:
        text = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf"))
    if "\0" in text:
        found = text.split("\0")
    else:
        found = [line.removesuffix("\r") for line in text.split("\n")]
    entries = [entry for entry in found if entry.strip()]
    if not entries:
        raise DataError(f"{where}: holds no paths; give one image or folder per line")
    return entries


def _places(base: Path, entries: Sequence[str]) -> tuple[list[Path], set[str]]:
    found = [_place(base, entry) for entry in entries]
    return [place for place, _ in found], {how for _, how in found if how}


def _place(base: Path, entry: str) -> tuple[Path, str]:
    """Return where an entry is: as it stands, or without spaces and quotes around it."""
    for text in dict.fromkeys((entry, entry.strip(), entry.strip().strip("\"'"))):
        place, how = located(base, os.path.expanduser(text))  # noqa: PTH111 (never raises)
        if os.path.lexists(place):
            return place, how
    return base / entry.strip(), ""


def _is_picture(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(4).startswith(_PICTURES)
    except OSError:
        return False
