r"""Text that every file and stream can hold: names that are not UTF-8 are spelled one way.

A file name that is not UTF-8 reaches Python with surrogates in place of its bytes, which no
encoding can write. Everything that is written shows such a byte as ``\xe9``.
"""

from __future__ import annotations

import json
import re
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]+")
# What never stands for a byte: half of a pair.
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def spelled(name: str) -> str:
    r"""Return *name* without surrogates, as it is written everywhere.

    Bytes that are UTF-8 after all, as where the locale is C, become what they stand for.

    >>> spelled("caf\udce9.png")
    'caf\\xe9.png'
    >>> spelled("caf\udcc3\udca9.png") == "caf\u00e9.png"
    True
    """
    if not _SURROGATES.search(name):
        return name
    whole = _HALVES.sub(lambda found: f"\\u{ord(found[0]):04x}", name)
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def json_text(document: Any, **layout: Any) -> str:
    r"""Return *document* as JSON that any encoding can hold: ASCII, names as :func:`spelled`.

    Args:
        document: JSON values.
        layout: of :func:`json.dumps`.

    Raises:
        ValueError: a number is not finite.

    >>> json_text({"caf\udce9": "\u00e9"})
    '{"caf\\\\xe9": "\\u00e9"}'
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, **layout)
    text = _SURROGATES.sub(lambda found: spelled(found[0]).replace("\\", "\\\\"), text)
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
