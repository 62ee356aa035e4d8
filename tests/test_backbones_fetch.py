"""Downloads against a local server that cuts, ignores, refuses and lies."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offshelf.backbones.weights_file import fetch
from offshelf.backbones.weights_file.fetch import DownloadError, download
from offshelf.errors import WeightsError
from offshelf.progress import Silent

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """A server with switches; ``seen`` holds the path and headers of every request."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.content = CONTENT
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.etag = '"one"'
        self.headers: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.states_length = True
        self.stalled = threading.Event()
        self.stalled.set()

    @property
    def url(self) -> str:
        return f"{self.address}/net-{SHA256[:8]}.pth"


class _Handler(http.server.BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        state = self.state
        state.seen.append((self.path, dict(self.headers)))
        if state.statuses:
            return self._answer(state.statuses.pop(0), state.headers, b"")
        if self.path in state.redirects:
            location = {"Location": state.redirects[self.path], **state.headers}
            return self._answer(302, location, b"")
        return self._file(state)

    def _file(self, state: Server) -> None:
        total, headers = len(state.content), {"ETag": state.etag, **state.headers}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", state.etag) == state.etag
        if not (state.ranges and asked and same):
            return self._answer(200, headers, state.content)
        start = int(asked[1])
        if start >= total:
            return self._answer(416, {"Content-Range": f"bytes */{total}"}, b"")
        headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        return self._answer(206, headers, state.content[start:])

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.state.states_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.state.cuts.pop(0) if body and self.state.cuts else None
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.state.stalled.wait(30)
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.001)
    handler = type("Handler", (_Handler,), {})
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.state = Server(f"http://127.0.0.1:{http_server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield handler.state  # type: ignore[attr-defined]
    http_server.shutdown()
    http_server.server_close()
    thread.join()


class Told(Silent):
    """Keeps the calls that a person would see."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Any]] = []
        self.unit = ""

    def start(self, what: str, total: int | None, unit: str = "") -> None:
        self.calls.append((what, total))
        self.unit = unit

    def advance(self, done: int = 1) -> None:
        self.calls.append(("advance", done))

    def finish(self) -> None:
        self.calls.append(("finish", None))

    def done(self) -> int:
        return sum(number for what, number in self.calls if what == "advance")


def _only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file(server: Server, tmp_path: Path):
    target, told = tmp_path / "new" / "net.pth", Told()
    assert download(server.url, target, sha256=SHA256[:8], progress=told) == SHA256
    assert target.read_bytes() == CONTENT
    assert _only(target.parent) == ["net.pth"]
    assert told.calls[0] == ("downloading net.pth", len(CONTENT))
    assert told.unit == "bytes"
    assert told.calls[-1] == ("finish", None)
    assert told.done() == len(CONTENT)
    assert told.notes == []


def test_a_cut_connection_is_resumed_in_the_same_call(server: Server, tmp_path: Path):
    server.cuts = [300_000, 200_000]
    told = Told()
    target = tmp_path / "net.pth"
    assert download(server.url, target, sha256=SHA256, progress=told) == SHA256
    ranges = [headers.get("Range") for _, headers in server.seen]
    assert ranges[0] is None
    assert len(ranges) == 3
    assert all(re.fullmatch(r"bytes=[1-9]\d*-", asked or "") for asked in ranges[1:])
    assert [headers.get("If-Range") for _, headers in server.seen[1:]] == ['"one"', '"one"']
    assert target.read_bytes() == CONTENT
    assert told.done() == len(CONTENT)


def test_a_part_of_an_earlier_process_is_continued(server: Server, tmp_path: Path):
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:1000])
    assert download(server.url, tmp_path / "net.pth", sha256=SHA256[:8]) == SHA256
    assert server.seen[0][1]["Range"] == "bytes=1000-"
    assert _only(tmp_path) == ["net.pth"]


def test_a_killed_download_is_continued_when_no_hash_is_known(server: Server, tmp_path: Path):
    target = tmp_path / "net.pth"
    server.cuts = [4000] * 50
    server.ranges = False
    with pytest.raises(DownloadError, match="given up after 5 attempts"):
        download(server.url, target)
    assert _only(tmp_path) == ["net.pth.part", "net.pth.part.json"]
    server.cuts, server.ranges, server.seen = [], True, []
    assert download(server.url, target) == SHA256
    assert server.seen[0][1]["If-Range"] == '"one"'
    assert server.seen[0][1]["Range"].startswith("bytes=")


def test_after_kill_9_only_the_rest_is_fetched(server: Server, tmp_path: Path):
    server.cuts = [400_000]
    server.stalled.clear()
    target, part = tmp_path / "net.pth", tmp_path / "net.pth.part"
    code = (
        "import sys; from pathlib import Path;"
        "from offshelf.backbones.weights_file.fetch import download;"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, server.url, target]) as process:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (part.is_file() and part.stat().st_size):
            time.sleep(0.01)
        process.kill()
    server.stalled.set()
    kept = part.stat().st_size
    assert 0 < kept <= 400_000
    assert download(server.url, target) == SHA256
    assert server.seen[1][1]["Range"] == f"bytes={kept}-"


def test_a_file_that_changed_at_its_origin_is_fetched_anew(server: Server, tmp_path: Path):
    target = tmp_path / "net.pth"
    server.cuts = [4000] * 50
    server.ranges = False
    with pytest.raises(DownloadError):
        download(server.url, target)
    server.cuts, server.ranges, server.etag = [], True, '"two"'
    server.content = CONTENT[::-1]
    assert download(server.url, target) == hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_a_part_that_nothing_vouches_for_is_not_used(server: Server, tmp_path: Path):
    (tmp_path / "net.pth.part").write_bytes(b"of another file")
    assert download(server.url, tmp_path / "net.pth") == SHA256
    assert "Range" not in server.seen[0][1]


def test_a_server_that_ignores_ranges(server: Server, tmp_path: Path):
    (tmp_path / "net.pth.part").write_bytes(b"x" * 5000)
    server.ranges = False
    assert download(server.url, tmp_path / "net.pth", sha256=SHA256) == SHA256


def test_a_server_that_sends_another_range(server: Server, tmp_path: Path):
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:5000])
    server.headers = {"Content-Range": "bytes 7-8/9"}
    server.statuses = [206]
    assert download(server.url, tmp_path / "net.pth", sha256=SHA256) == SHA256
    assert len(server.seen) == 2


@pytest.mark.parametrize("extra", [0, 1, 5000])
def test_a_part_as_long_as_the_file_or_longer(server: Server, tmp_path: Path, extra: int):
    (tmp_path / "net.pth.part").write_bytes(CONTENT + b"x" * extra)
    assert download(server.url, tmp_path / "net.pth", sha256=SHA256) == SHA256
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert len(server.seen) == (2 if extra else 1)


def test_a_wrong_hash_leaves_nothing(server: Server, tmp_path: Path):
    with pytest.raises(WeightsError) as caught:
        download(server.url, tmp_path / "net.pth", sha256="0123abcd")
    assert str(caught.value) == (
        f"{server.url}: the downloaded file has the sha256 {SHA256}, expected 0123abcd;"
        " it was deleted, try again"
    )
    assert not isinstance(caught.value, DownloadError)
    assert _only(tmp_path) == []


def test_a_failed_download_leaves_the_old_file(server: Server, tmp_path: Path):
    target = tmp_path / "net.pth"
    target.write_bytes(b"old")
    with pytest.raises(WeightsError, match="expected 0123abcd"):
        download(server.url, target, sha256="0123abcd")
    assert target.read_bytes() == b"old"


def test_a_file_that_is_already_right_is_not_fetched(server: Server, tmp_path: Path):
    (tmp_path / "net.pth").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "net.pth", sha256=SHA256[:10]) == SHA256
    assert server.seen == []


def test_a_file_that_nothing_can_be_checked_against_is_said(server: Server, tmp_path: Path):
    told = Told()
    download(server.url, tmp_path / "net.pth", progress=told)
    assert told.notes == [f"{server.url}: nothing to check the file against; sha256 {SHA256}"]


@pytest.mark.parametrize(
    ("status", "text"), [(404, "HTTP 404 Not Found"), (403, "HTTP 403 Forbidden")]
)
def test_a_refusal_is_not_repeated(server: Server, tmp_path: Path, status: int, text: str):
    server.statuses = [status] * 9
    with pytest.raises(DownloadError) as caught:
        download(server.url, tmp_path / "net.pth")
    assert str(caught.value) == f"{server.url}: {text}"
    assert len(server.seen) == 1
    assert _only(tmp_path) == []


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path):
    server.statuses = [503, 429, 500]
    assert download(server.url, tmp_path / "net.pth", sha256=SHA256) == SHA256


def test_a_server_that_stays_busy(server: Server, tmp_path: Path):
    server.statuses = [503] * 9
    with pytest.raises(DownloadError) as caught:
        download(server.url, tmp_path / "net.pth")
    assert str(caught.value) == (
        f"{server.url}: given up after 5 attempts (Service Unavailable); run it again to continue"
    )


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/net.pth"
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "net.pth")
    assert str(caught.value).startswith(f"{url}: no connection (")
    assert "refused" in str(caught.value)


def test_a_server_that_does_not_state_the_length(server: Server, tmp_path: Path):
    server.states_length = False
    told = Told()
    url = server.url
    assert download(url, tmp_path / "net.pth", sha256=SHA256, size=77, progress=told) == SHA256
    assert told.calls[0] == ("downloading net.pth", 77)


def test_a_full_disk_is_said_before_the_bytes_come(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = type("Usage", (), {"free": 3 << 20})
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WeightsError) as caught:
        download(server.url, tmp_path / "net.pth", sha256=SHA256)
    assert str(caught.value) == (
        f"{tmp_path}: 3 MB free, net.pth needs 65 MB; free some space or set OFFSHELF_CACHE_DIR"
    )


@pytest.mark.parametrize("url", ["ftp://host/a", "file:///etc/passwd", "data:,x", "a.pth"])
def test_only_the_web(url: str, tmp_path: Path):
    with pytest.raises(DownloadError, match="only http and https addresses"):
        download(url, tmp_path / "a.pth")


def test_redirects_are_followed_and_keep_the_range(server: Server, tmp_path: Path):
    server.redirects = {"/here": "/there"}
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:10])
    assert download(f"{server.address}/here", tmp_path / "net.pth", sha256=SHA256) == SHA256
    assert [path for path, _ in server.seen] == ["/here", "/there"]
    assert server.seen[1][1]["Range"] == "bytes=10-"


def test_a_redirect_out_of_the_web_is_refused(server: Server, tmp_path: Path):
    server.redirects = {"/here": "ftp://127.0.0.1/there"}
    with pytest.raises(
        DownloadError, match=r"redirected to ftp://127\.0\.0\.1/there, which is not safe"
    ):
        download(f"{server.address}/here", tmp_path / "net.pth")


def test_the_hubs_own_hash_is_checked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_ENDPOINT", server.address + "/")
    path = "/timm/a/resolve/main/model.safetensors"
    server.redirects = {path: "/elsewhere"}
    server.headers = {"X-Linked-Etag": f'"{SHA256}"'}
    told = Told()
    url = f"https://huggingface.co{path}"
    assert download(url, tmp_path / "a.safetensors", progress=told) == SHA256
    assert told.notes == []
    server.headers = {"X-Linked-Etag": f'"{"0" * 64}"'}
    with pytest.raises(WeightsError, match=f"sha256 {SHA256}, expected {'0' * 64}"):
        download(url, tmp_path / "b.safetensors")


def test_the_hash_header_of_another_host_means_nothing(server: Server, tmp_path: Path):
    server.headers = {"X-Linked-Etag": f'"{"0" * 64}"'}
    assert download(server.url, tmp_path / "net.pth") == SHA256


def test_two_downloads_of_one_file_at_a_time(server: Server, tmp_path: Path):
    found: list[str] = []
    target = tmp_path / "net.pth"
    threads = [
        threading.Thread(target=lambda: found.append(download(server.url, target, sha256=SHA256)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SHA256] * 4
    assert len(server.seen) == 1


def test_a_damaged_memory_of_the_part_is_ignored(server: Server, tmp_path: Path):
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:10])
    for text in ("{", "[]", json.dumps({"url": "https://other", "validator": '"x"'})):
        (tmp_path / "net.pth.part.json").write_text(text)
        (tmp_path / "net.pth").unlink(missing_ok=True)
        assert download(server.url, tmp_path / "net.pth", sha256=SHA256) == SHA256
