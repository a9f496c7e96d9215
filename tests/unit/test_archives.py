"""Downloads from a server on this machine, which breaks off, lies or is not there."""

import hashlib
import http.server
import threading
from pathlib import Path

import pytest

from random_mask.data import archives
from random_mask.data.archives import fetch, official, read_verified
from random_mask.data.settings import ARCHIVES
from random_mask.errors import InputError

CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`.

    Attributes:
        content: what it serves.
        cut: after how many bytes each of its first answers breaks off.
        ranges: whether it answers for a part of a file.
        status: another status that it answers with.
        asked: the `Range` of each request.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.ranges, self.status = CONTENT, [], True, None
        self.asked = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers["Range"]
        server.asked.append(wanted)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if server.status or (begin and begin >= len(server.content)):
            self.send_error(server.status or 416)
            return
        body = server.content[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut.pop(0)] if server.cut else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(archives, "FIRST_PAUSE_SECONDS", 0.001)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/a.tar.gz"
    monkeypatch.setattr(archives, "official", lambda name: (address, MD5))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


PATH = Path("data/a.tar.gz")
PART = Path("data/a.tar.gz.part")


def downloaded() -> bytes:
    fetch(PATH, lambda text: None)
    assert [path.name for path in PATH.parent.iterdir()] == [PATH.name]
    return read_verified(PATH)


def test_an_archive_is_downloaded_once(server):
    assert downloaded() == CONTENT
    assert downloaded() == CONTENT
    assert server.asked == [None]


def test_what_breaks_off_is_continued(server):
    server.cut = [1000, 0, 500]
    assert downloaded() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=1000-", "bytes=1500-"]


def test_an_interrupted_download_is_continued_by_the_next_run(server):
    server.cut = [100] * archives.ATTEMPTS
    with pytest.raises(InputError, match=r"the connection ended|IncompleteRead"):
        downloaded()
    assert PART.read_bytes() == CONTENT[: 100 * archives.ATTEMPTS]
    assert not PATH.exists()
    assert downloaded() == CONTENT
    assert server.asked[-1] == f"bytes={100 * archives.ATTEMPTS}-"


def test_a_server_that_cannot_continue_sends_the_whole_again(server):
    server.cut, server.ranges = [1000], False
    assert downloaded() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1), CONTENT])
def test_a_part_of_another_file_is_thrown_away(server, part):
    PART.parent.mkdir()
    PART.write_bytes(part)
    assert downloaded() == CONTENT
    assert len(server.asked) == (1 if part == CONTENT else 2)


@pytest.mark.parametrize("content", [b"a page that says log in", CONTENT[:-1], CONTENT + b"x"])
def test_what_is_not_the_official_file_is_not_kept(server, content):
    server.content = content
    found = hashlib.md5(content).hexdigest()
    with pytest.raises(InputError, match=f"cannot be downloaded .what came has the MD5 {found}"):
        downloaded()
    assert len(server.asked) == 1
    assert list(PATH.parent.iterdir()) == []


def message(server) -> str:
    with pytest.raises(InputError) as caught:
        downloaded()
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    for part in (f"http://127.0.0.1:{server.server_port}/a.tar.gz", f"put it here as {PATH} (MD5 {MD5})"):
        assert part in text
    return text


def test_who_is_offline_is_told_what_to_put_where(server, monkeypatch):
    monkeypatch.setattr(server, "server_port", 9)  # nobody answers there
    monkeypatch.setattr(archives, "official", lambda name: ("http://127.0.0.1:9/a.tar.gz", MD5))
    assert "refused" in message(server)


def test_a_file_that_is_gone_is_not_asked_for_again_but_a_busy_server_is(server):
    server.status = 404
    assert "404" in message(server)
    assert len(server.asked) == 1
    server.status = 503
    assert "503" in message(server)
    assert len(server.asked) == 1 + archives.ATTEMPTS


def test_a_file_that_was_put_there_is_taken_if_it_is_the_official_one(server):
    PATH.parent.mkdir()
    PATH.write_bytes(CONTENT)
    assert downloaded() == CONTENT
    PATH.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"^data/a\.tar\.gz: damaged, or not the official file .*delete it"):
        downloaded()
    assert PATH.read_bytes() == CONTENT[:-1]
    assert server.asked == []


def test_every_archive_has_an_address_and_a_sum():
    for path in (path for paths in ARCHIVES.values() for path in paths):
        url, md5 = official(Path(path).name)
        assert url.endswith("/" + Path(path).name)
        assert len(md5) == 32
