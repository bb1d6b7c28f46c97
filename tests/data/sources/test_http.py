"""URLs, against a real server: folders, archives, images; with and without ETag; failures, retries, passwords."""

import base64
import io
import json
import logging
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from anime_lora.data.manifest import IngestedFile, read_manifest
from anime_lora.data.source_diff import hash_sources
from anime_lora.data.sources import download, retry
from anime_lora.data.sources.archives import Limits
from anime_lora.data.sources.listing import list_files
from anime_lora.data.sources.source_file import SourceFile
from anime_lora.errors import SourceError
from tests.data.conftest import Project, image


class Site(ThreadingHTTPServer):
    """A server with files by path; the attributes say how it behaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, tuple[str, bytes]] = {}
        """Type and content by path."""
        self.etags = True
        self.failing: Counter[str] = Counter()
        """How often a path still answers 503."""
        self.user = ""
        """`user:password`, where one is needed."""
        self.moved: dict[str, str] = {}
        """Where a path leads."""
        self.token = ""
        """The value of `token` in the query, likewise."""
        self.requests: list[str] = []
        """Method and path of each request."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, path: str, content: bytes, kind: str = "image/png") -> None:
        """Serve a file."""
        self.files[path] = (kind, content)

    def add_page(self, path: str, *links: str) -> None:
        """Serve a page of links, as servers list folders."""
        anchors = "".join(f'<tr><td><A class="x" HREF="{link}">{link}</A></td></tr>' for link in links)
        self.add(path, f"<html><body><table>{anchors}</table></body></html>".encode(), "text/html; charset=utf-8")


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        """The head and the content."""
        self.answer(body=True)

    def do_HEAD(self) -> None:
        """The head alone."""
        self.answer(body=False)

    def answer(self, body: bool) -> None:
        """What `Site` says of the path."""
        path, _, query = self.path.partition("?")
        self.server.requests.append(f"{self.command} {path}")
        given = self.headers.get("authorization", "").removeprefix("Basic ")
        if self.server.user and base64.b64decode(given).decode() != self.server.user:
            return self.send(401, {}, b"", body)
        if self.server.failing[path] > 0:
            self.server.failing[path] -= 1
            return self.send(503, {"Retry-After": "0"}, b"", body)
        if path in self.server.moved:
            return self.send(302, {"Location": self.server.moved[path]}, b"", body)
        if path not in self.server.files or (self.server.token and f"token={self.server.token}" not in query):
            return self.send(404, {}, b"", body)
        kind, content = self.server.files[path]
        headers = {"Content-Type": kind}
        if self.server.etags:
            headers["ETag"] = f'"{hash(content):x}"'
            if self.headers.get("if-none-match") == headers["ETag"]:
                return self.send(304, headers, b"", body)
        return self.send(200, headers, content, body)

    def send(self, status: int, headers: dict[str, str], content: bytes, body: bool) -> None:
        """Write the answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: the requests are in `Site.requests`."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(download, "CACHE", tmp_path / "downloads")
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    image(seed).save(stream, "PNG")
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.png", content)
    return stream.getvalue()


def files_of(url: str, max_files: int = 100, max_file_mb: float = 1) -> dict[str, SourceFile]:
    return {file.path: file for file in list_files(url, Limits(max_files, 200, max_file_mb))}


def test_a_folder_is_what_its_pages_of_links_lead_to(site: Site) -> None:
    """Not what lies above or elsewhere, nor the page in another order; names are decoded."""
    elsewhere = ["?C=N;O=D", "../", "/", "/other/x.png", "http://elsewhere.invalid/y.png", "%2e%2e/up.png", "http://["]
    inside = ["a.png", "./sub/", "/faces/sub/", "%E9%AB%AA%20b.png", "mailto:me", "a.png#top"]
    site.add_page("/faces/", *elsewhere, *inside)
    site.add_page("/faces/sub/", "../", "c.png", "../a.png")
    for name in ("a.png", "%E9%AB%AA%20b.png", "sub/c.png"):
        site.add(f"/faces/{name}", name.encode())
    for url in (f"{site.url}/faces/", f"{site.url}/faces"):
        site.files["/faces"] = site.files["/faces/"]
        files = files_of(url)
        assert list(files) == ["a.png", "sub/c.png", "髪 b.png"]
        assert files["髪 b.png"].read() == b"%E9%AB%AA%20b.png"
        assert files["sub/c.png"].size == len("sub/c.png")
        assert files["a.png"].version
    assert not [one for one in site.requests if "other" in one or "up" in one]


def test_a_folder_may_lie_elsewhere(site: Site) -> None:
    """Its links are relative to where it lies."""
    site.moved["/latest"] = "/v2/faces/"
    site.add_page("/v2/faces/", "a.png")
    site.add("/v2/faces/a.png", b"a")
    assert {path: file.read() for path, file in files_of(f"{site.url}/latest").items()} == {"a.png": b"a"}


def test_a_single_image_is_a_source(site: Site) -> None:
    site.add("/one.png", b"1")
    site.add("/show", b"2", "image/webp")
    assert {name: file.read() for name, file in files_of(f"{site.url}/one.png?size=large").items()} == {"one.png": b"1"}
    assert {name: file.read() for name, file in files_of(f"{site.url}/show").items()} == {"show": b"2"}


def test_an_archive_is_downloaded_again_only_when_it_changed(site: Site) -> None:
    site.add("/faces.zip", zipped(a=b"a"), "application/zip")
    site.add("/get", zipped(b=b"b"), "application/zip")
    assert files_of(f"{site.url}/faces.zip")["a.png"].read() == b"a"
    assert files_of(f"{site.url}/get?file=3")["b.png"].read() == b"b"
    versions = [files_of(f"{site.url}/faces.zip")["a.png"].version for _ in range(2)]
    site.add("/faces.zip", zipped(a=b"c"), "application/zip")
    file = files_of(f"{site.url}/faces.zip")["a.png"]
    assert file.read() == b"c"
    assert versions[0] == versions[1] != file.version


def test_a_server_without_etags_serves_all_the_same(site: Site, tmp_path: Path) -> None:
    """An archive's version is then its hash; a file without a version is read again, as it may have changed."""
    site.etags = False
    site.add_page("/faces/", "a.png")
    site.add("/faces/a.png", b"a")
    site.add("/faces.zip", zipped(a=b"a"), "application/zip")
    assert files_of(f"{site.url}/faces/")["a.png"].version is None
    first, second = (files_of(f"{site.url}/faces.zip")["a.png"] for _ in range(2))
    assert first.version == second.version
    assert str(first.version).startswith("sha256:")


def test_the_watch_sees_what_changed_behind_a_url(site: Site, project: Project) -> None:
    site.add_page("/faces/", "a.png", "b.png")
    for etags in (True, False):
        site.etags = etags
        site.add("/faces/a.png", png(1))
        site.add("/faces/b.png", png(2))
        section = project._ingest.model_copy(update={"sources": (f"{site.url}/faces/",)})
        before = hash_sources(section, Path(f"memo-{etags}.jsonl"))
        site.add("/faces/b.png", png(3))
        now = hash_sources(section, Path(f"memo-{etags}.jsonl"))
        assert [one.sha256 == other.sha256 for one, other in zip(before, now, strict=True)] == [True, False]


def test_an_answer_that_fails_for_a_moment_is_asked_again(site: Site) -> None:
    site.add_page("/faces/", "a.png")
    site.add("/faces/a.png", b"a")
    site.failing.update({"/faces/": 2, "/faces/a.png": 2})
    file = files_of(f"{site.url}/faces/")["a.png"]
    assert file.size == 1
    site.failing["/faces/a.png"] = 3
    assert file.read() == b"a"
    site.failing["/faces/a.png"] = 9
    with pytest.raises(OSError, match="the server answers 503"):
        file.read()


def test_where_no_list_can_be_had_the_error_says_what_can_be_named_instead(site: Site) -> None:
    site.add_page("/empty/", "../", "?C=M;O=A")
    site.add("/words/", b"<p>no <a name=x>link", "text/html")
    site.add("/json/", b"[]", "application/json")
    for path in ("/empty/", "/words/", "/json/"):
        with pytest.raises(SourceError, match=r"shows no list of files there.*: name an archive .* or an image"):
            files_of(site.url + path)
    with pytest.raises(SourceError, match="404 Not Found: name an archive"):
        files_of(f"{site.url}/gone/")
    with pytest.raises(SourceError, match=r"more than ingest\.max_files = 2 files"):
        site.add_page("/many/", *(f"{number}.png" for number in range(9)))
        files_of(f"{site.url}/many/", max_files=2)
    with pytest.raises(SourceError, match=r"cannot be listed: .*look at the address and the network"):
        files_of("http://127.0.0.1:1/faces/")


def test_a_file_that_cannot_be_had_is_a_row(site: Site, project: Project) -> None:
    """Gone, too long though the server says nothing of its length, or cut: the others are taken."""
    site.add_page("/faces/", "a.png", "gone.png", "long.png", "words.png", "a.txt")
    site.add("/faces/a.png", png(1))
    site.add("/faces/long.png", bytes(2 << 20))
    site.add("/faces/words.png", b"words")
    site.add("/faces/a.txt", "少女".encode("cp932"), "text/plain")
    project.ingest(sources=(f"{site.url}/faces/",), max_file_mb=1)
    rows = {row.path: (row.code, row.caption) for row in read_manifest(Path("data/ingest"), IngestedFile)}
    assert rows == {
        "a.png": (None, "少女"), "gone.png": ("unreadable", None), "long.png": ("too_large", None),
        "words.png": ("no_image", None),
    }  # fmt: skip


def test_passwords_may_lie_in_netrc(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A URL's own goes before it."""
    site.user = "me:hunter2"
    site.add("/a.png", b"a")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files_of(f"{site.url}/a.png")["a.png"].size == 0
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert files_of(f"{site.url}/a.png")["a.png"].read() == b"a"
    site.user = "you:other"
    assert files_of(f"{site.url.replace('//', '//you:other@')}/a.png")["a.png"].read() == b"a"


def test_an_archive_behind_another_url_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CACHE", tmp_path / "downloads")
    (tmp_path / "faces.zip").write_bytes(zipped(a=b"a"))
    file = files_of(f"file://{tmp_path}/faces.zip")["a.png"]
    assert (file.source, file.read(), file.local) == (f"file://{tmp_path}/faces.zip", b"a", None)
    (copy,) = (tmp_path / "downloads").rglob("*.zip")
    before = copy.stat().st_mtime_ns
    files_of(f"file://{tmp_path}/faces.zip")
    assert copy.stat().st_mtime_ns == before
    (tmp_path / "faces.zip").write_bytes(zipped(a=b"b"))
    assert files_of(f"file://{tmp_path}/faces.zip")["a.png"].read() == b"b"


def test_no_password_and_no_token_is_in_a_file_an_error_or_a_log(
    site: Site, project: Project, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site.user, site.token = "me:hunter2", "t0psecret"
    site.add_page("/faces/", "a.png", "gone.png")
    site.add("/faces/a.png", png(1))
    site.add("/faces.zip", zipped(b=png(2), c=b"words"), "application/zip")
    where = site.url.replace("//", "//me:hunter2@")
    project.ingest(sources=(f"{where}/faces/?token=t0psecret", f"{where}/faces.zip?token=t0psecret"))
    hash_sources(project._ingest.model_copy(update={"sources": (f"{where}/faces/?token=t0psecret",)}))
    taken = [row.path for row in read_manifest(Path("data/ingest"), IngestedFile) if row.status == "taken"]
    assert sorted(taken) == ["a.png", "b.png"]
    errors = []
    for url in (f"{where}/gone/?token=t0psecret", "http://me:hunter2@127.0.0.1:1/x/?token=t0psecret",
                "s3x://me:hunter2@bucket/a?token=t0psecret"):  # fmt: skip
        with pytest.raises(SourceError) as raised:
            files_of(url)
        errors.append(str(raised.value))
    written = [file.read_bytes() for file in project.root.rglob("*") if file.is_file() and file.suffix != ".png"]
    texts = [
        *errors,
        "".join(capsys.readouterr()),
        caplog.text,
        *(content.decode("utf-8", "replace") for content in written),
    ]
    names = [str(path) for path in project.root.rglob("*")]
    assert not [text for text in texts + names if "hunter2" in text or "t0psecret" in text]
    assert "token=***" in json.dumps([row.source for row in read_manifest(Path("data/ingest"), IngestedFile)])
