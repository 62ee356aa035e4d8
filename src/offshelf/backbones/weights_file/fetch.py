"""Download of one file: whole and checked, or absent.

The bytes go to ``NAME.part`` beside the target, are resumed there after any
interruption, hashed, synced, and renamed at the end. Only http and https.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from offshelf.errors import WeightsError
from offshelf.files import put, sha256_file, write_json
from offshelf.locks import alone
from offshelf.progress import Progress, Silent

CHUNK_BYTES = 1 << 20
ATTEMPTS = 5
PAUSE_SECONDS = 0.5
SPARE_BYTES = 64 << 20
HUB = "https://huggingface.co"
_TRY_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_SATISFIABLE = 416


class DownloadError(WeightsError):
    """The file could not be downloaded; a copy brought by hand would do."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str = "",
    size: int = 0,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> str:
    """Download *url* to *target* and return the sha256 of the file.

    A partial file of an earlier attempt is continued. Where *sha256* is empty and the
    address is on the Hugging Face hub, the hash that the hub states is checked.
    ``HF_ENDPOINT`` stands in for the hub's address.

    Args:
        url: http or https.
        target: the file to make; its folder is made, too.
        sha256: the expected hash or the beginning of it, 8 digits or more.
        size: bytes, for progress and the check of free space where the server does not
            say; need not be exact.
        progress: is told of the bytes, and when nothing could be checked.
        timeout: seconds without an answer.

    Returns:
        64 hexadecimal digits.

    Raises:
        DownloadError: no connection, or the server refuses.
        WeightsError: the file has another hash, or the disk is too small.

    >>> download("ftp://a/b", Path("b"))
    Traceback (most recent call last):
    ...
    offshelf.backbones.weights_file.fetch.DownloadError: ftp://a/b: only http and https addresses
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: only http and https addresses")
    progress = progress or Silent()
    target.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"{target}: waiting for another process that downloads it"
    with alone(target, waiting=lambda: progress.note(waiting)) as free:
        if target.is_file() and (found := sha256_file(target)).startswith(sha256.lower()):
            return found
        transfer = _Transfer(_address(url), target, sha256.lower(), size, progress, timeout)
        transfer.use_part("" if free else f".{os.getpid()}")
        with contextlib.closing(transfer):
            transfer.run()
        return transfer.keep()


def _address(url: str) -> str:
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return endpoint + url[len(HUB) :] if endpoint and url.startswith(HUB + "/") else url


class _Transfer:
    """The state of one download over its attempts."""

    def __init__(
        self, url: str, target: Path, sha256: str, size: int, progress: Progress, timeout: float
    ) -> None:
        self.url, self.target, self.sha256, self.size = url, target, sha256, size
        self.progress, self.timeout = progress, timeout
        self.shown: int | None = None
        self.use_part("")

    def use_part(self, own: str) -> None:
        """Receive into a part of *own*: whoever was stopped may yet go on with the usual one."""
        self.part = self.target.with_name(f"{self.target.name}{own}.part")
        self.memory = self.part.with_name(f"{self.part.name}.json")
        self.furthest = self._have()

    def run(self) -> None:
        """Receive the whole file into the part, with as many attempts as make sense."""
        started, failures = False, 0
        while True:
            try:
                self._receive()
                return
            except urllib.error.HTTPError as error:
                if error.code == _NOT_SATISFIABLE and self._complete(error.headers):
                    return
                if error.code not in (*_TRY_LATER, _NOT_SATISFIABLE):
                    raise DownloadError(f"{self.url}: HTTP {error.code} {error.reason}") from error
                failure: Exception = error
            except (OSError, http.client.HTTPException) as error:
                # With nothing received, the machine is offline or the address is wrong.
                if not started and self._have() <= self.furthest and _never_answered(error):
                    raise DownloadError(f"{self.url}: no connection ({_reason(error)})") from error
                failure = error
            started = started or self._have() > self.furthest
            failures = 0 if self._have() > self.furthest else failures + 1
            self.furthest = max(self.furthest, self._have())
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"{self.url}: given up after {ATTEMPTS} attempts ({_reason(failure)});"
                    " run it again to continue"
                ) from failure
            time.sleep(PAUSE_SECONDS * 2**failures)

    def keep(self) -> str:
        """Check the part and make it the target; return its hash."""
        found = sha256_file(self.part)
        expected = self.sha256 or self._remembered().get("sha256", "")
        if not found.startswith(expected):
            self._drop()
            raise WeightsError(
                f"{self.url}: the downloaded file has the sha256 {found}, expected {expected};"
                " it was deleted, try again"
            )
        if not expected:
            self.progress.note(f"{self.url}: nothing to check the file against; sha256 {found}")
        put(self.part, self.target)
        self.memory.unlink(missing_ok=True)
        return found

    def close(self) -> None:
        """Finish the progress display."""
        if self.shown is not None:
            self.progress.finish()

    def _receive(self) -> None:
        redirects = _Redirects()
        opener = urllib.request.build_opener(redirects)
        request = urllib.request.Request(self.url, headers=self._headers())  # noqa: S310
        with opener.open(request, timeout=self.timeout) as response:
            redirects.note_hash(response.url, response.headers)
            offset, total = self._begin(response, redirects.sha256)
            self._require_space((total or self.size) - offset)
            with self.part.open("r+b" if offset else "wb") as handle:
                handle.seek(offset)
                handle.truncate()
                self._copy(response, handle)
        if total is not None and self._have() != total:
            raise ConnectionResetError(f"connection cut at byte {self._have()} of {total}")

    def _copy(self, response: Any, handle: IO[bytes]) -> None:
        while piece := response.read1(CHUNK_BYTES):
            handle.write(piece)
            self.progress.advance(len(piece))
            self.shown = (self.shown or 0) + len(piece)

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "offshelf", "Accept-Encoding": "identity"}
        validator = self._remembered().get("validator", "")
        if self._have() and (validator or self.sha256):
            headers["Range"] = f"bytes={self._have()}-"
            if validator:
                headers["If-Range"] = validator
        return headers

    def _begin(self, response: Any, hub_sha256: str) -> tuple[int, int | None]:
        """Return where the coming bytes belong and the length of the whole file."""
        offset, total = 0, _number(response.headers.get("Content-Length"))
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            stated = re.match(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if stated is None or int(stated[1]) != self._have():
                self._drop()
                raise ConnectionError("the server sent another part than asked for")
            offset, total = int(stated[1]), int(stated[2])
        write_json(
            self.memory,
            {
                "url": self.url,
                "validator": _validator(response.headers),
                "sha256": hub_sha256 or self._remembered().get("sha256", ""),
            },
        )
        self._show(offset, total or self.size or None)
        return offset, total

    def _show(self, offset: int, total: int | None) -> None:
        if self.shown == offset:
            return
        self.close()
        self.progress.start(f"downloading {self.target.name}", total, "bytes")
        self.progress.advance(offset)
        self.shown = offset

    def _complete(self, headers: Any) -> bool:
        """Whether the refused range began exactly at the end; if not, start over."""
        stated = re.match(r"bytes \*/(\d+)", headers.get("Content-Range", ""))
        if stated is not None and int(stated[1]) == self._have():
            return True
        self._drop()
        return False

    def _require_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if free < needed + SPARE_BYTES:
            raise WeightsError(
                f"{self.part.parent}: {free >> 20} MB free, {self.target.name} needs"
                f" {(needed + SPARE_BYTES) >> 20} MB; free some space or set OFFSHELF_CACHE_DIR"
            )

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _remembered(self) -> dict[str, str]:
        try:
            content = json.loads(self.memory.read_text())
        except (OSError, ValueError):
            return {}
        same = isinstance(content, dict) and content.get("url") == self.url
        return content if same else {}

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.memory.unlink(missing_ok=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, never from https to http; keeps the hash that the hub states."""

    def __init__(self) -> None:
        self.sha256 = ""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        self.note_hash(req.full_url, headers)
        schemes = req.type, urllib.parse.urlsplit(newurl).scheme
        if schemes[1] not in ("http", "https") or schemes == ("https", "http"):
            raise DownloadError(f"{req.full_url}: redirected to {newurl}, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def note_hash(self, url: str, headers: Mapping[str, str]) -> None:
        """Keep the sha256 of a large file, which the hub sends as its linked tag."""
        tag = headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"')
        if url.startswith(_address(HUB + "/")) and re.fullmatch("[0-9a-f]{64}", tag):
            self.sha256 = tag


def _validator(headers: Mapping[str, str]) -> str:
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _never_answered(error: Exception) -> bool:
    return isinstance(error, urllib.error.URLError | TimeoutError)


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error or type(error).__name__)
