"""The files behind an http(s) URL: of a folder that the server lists as a page of links, of an archive, or one image.

HTTP knows no folders. A page's links are followed that lead below it, no others: not to the folder above, nor to the
page itself in another order. Servers need not tell sizes or versions; a file without a version is read again each time.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import httpx

from anime_lora.data.sources.archives import ARCHIVES, Limits, list_archive
from anime_lora.data.sources.download import Version, download
from anime_lora.data.sources.redaction import RedactingFilter, redact
from anime_lora.data.sources.retry import ATTEMPTS, PASSING, with_retries
from anime_lora.data.sources.source_file import SourceFile
from anime_lora.errors import BadImageError, SourceError
from anime_lora.image_formats import SUFFIXES

Result = TypeVar("Result")
TIMEOUT = 30.0
"""Seconds without an answer."""
AT_ONCE = 8
"""Requests for sizes and versions at the same time."""
IMPATIENT = 5
PAGE_BYTES = 32 << 20
"""The longest page of links that is read."""
ARCHIVE_TYPES = {
    "application/zip": ".zip", "application/x-zip-compressed": ".zip", "application/x-tar": ".tar",
    "application/gzip": ".tar.gz", "application/x-gzip": ".tar.gz", "application/x-bzip2": ".tar.bz2",
    "application/x-xz": ".tar.xz",
}  # fmt: skip
PAGE_TYPES = ("text/html", "application/xhtml+xml")
HOW_ELSE = "name an archive (.zip, .tar) or an image, or a folder of a server that lists its files"

logging.getLogger("httpx").addFilter(RedactingFilter())  # it logs every URL


def list_http(url: str, limits: Limits) -> Iterator[SourceFile]:
    """Its files: those that a page of links leads to, the members of an archive, or the one it names.

    Raises:
        SourceError: the server does not answer, refuses, or shows no list.
    """
    try:
        return _list(Server(httpx.Client(follow_redirects=True, timeout=TIMEOUT, auth=_auth(url))), url, limits)
    except httpx.HTTPStatusError as error:
        answer = f"{error.response.status_code} {error.response.reason_phrase}"
        raise SourceError(f"{redact(url)} cannot be listed: the server answers {answer}: {HOW_ELSE}") from None
    except httpx.HTTPError as error:
        reason = redact(str(error) or type(error).__name__)
        raise SourceError(f"{redact(url)} cannot be listed: {reason}: look at the address and the network") from None
    except (OSError, httpx.InvalidURL) as error:
        raise SourceError(f"{redact(url)} cannot be read: {redact(str(error))}") from None


class Server:
    """The connections to a server, and how patient we still are with it.

    Args:
        client: makes the requests.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self._failures = 0
        """Requests in a row that failed at every attempt."""

    def ask(self, request: Callable[[httpx.Client], Result]) -> Result:
        """What `request` returns, with retries; one attempt each where `IMPATIENT` requests in a row had none."""
        try:
            result = with_retries(partial(request, self.client), 1 if self._failures >= IMPATIENT else ATTEMPTS)
        except httpx.TransportError:
            self._failures += 1
            raise
        self._failures = 0
        return result


def _auth(url: str) -> httpx.Auth | None:
    """Of ~/.netrc, where there is one: a place for passwords that is in no project. None where the URL has its own."""
    try:
        return None if urlsplit(url).username else httpx.NetRCAuth()
    except Exception:  # there is none, or it cannot be parsed
        return None


def _list(server: Server, url: str, limits: Limits) -> Iterator[SourceFile]:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    kind = ""
    if not name.lower().endswith((*ARCHIVES, *SUFFIXES)):
        kind, url = server.ask(partial(_content_type, url=url))
    if kind in PAGE_TYPES:
        return _list_pages(server, url, limits)
    if kind.startswith("text/") or kind in {"application/json", "application/xml"}:
        raise SourceError(f"{redact(url)}: the server shows no list of files there, but {kind}: {HOW_ELSE}")
    if name.lower().endswith(ARCHIVES) or kind in ARCHIVE_TYPES:
        fetched = download(url, (name or "archive") + ARCHIVE_TYPES.get(kind, ""), partial(_fetch, server, url))
        return list_archive(redact(url), fetched.path, limits, fetched.version)
    return iter([_describe(server, redact(url), limits, url, name or "file")])


def _content_type(client: httpx.Client, url: str) -> tuple[str, str]:
    """What the content is, and where it lies after redirections."""
    with client.stream("GET", url) as response:
        response.raise_for_status()
        kind = str(response.headers.get("content-type", "")).split(";")[0].strip().lower()
        asked, final = urlsplit(url), urlsplit(str(response.url))
        same_host = (asked.hostname, asked.port) == (final.hostname, final.port)
        return kind, urlunsplit((asked if same_host else final)._replace(path=final.path))


def _list_pages(server: Server, url: str, limits: Limits) -> Iterator[SourceFile]:
    """Every file that the page and the pages of its folders lead to.

    Raises:
        SourceError: they lead to none.
    """
    base = _folder(url)
    below = urlsplit(base).path
    folders, seen = [base], {base}
    files: list[str] = []
    while folders and len(files) <= limits.max_files:
        page = folders.pop()
        for link in _links(server.ask(partial(_read, url=page, most=PAGE_BYTES)).decode("utf-8", "replace")):
            target = _below(base, page, link)
            if target and target not in seen and len(seen) <= 2 * limits.max_files:
                seen.add(target)
                (folders if urlsplit(target).path.endswith("/") else files).append(target)
    if not files:
        raise SourceError(f"{redact(url)}: the server shows no list of files there: {HOW_ELSE}")
    names = [unquote(urlsplit(file).path.removeprefix(below)) for file in files]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return iter(list(pool.map(partial(_describe, server, redact(url), limits), files, names)))


def _folder(url: str) -> str:
    """The URL with a slash at its path's end, which makes links relative to it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path if parts.path.endswith("/") else f"{parts.path}/", fragment=""))


def _below(base: str, page: str, link: str) -> str | None:
    """Where a link leads, with the query that opens `base`; None where that is not below `base`."""
    try:
        target, root = urlsplit(urljoin(page, link)), urlsplit(base)
        host = (target.scheme, target.hostname, target.port)
    except ValueError:
        return None
    if host != (root.scheme, root.hostname, root.port) or not target.path.startswith(root.path):
        return None
    if target.path == root.path or ".." in unquote(target.path).split("/"):
        return None
    return urlunsplit(root._replace(path=target.path))


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _links(page: str) -> list[str]:
    parser = _Links()
    with suppress(Exception):  # what is no HTML any more ends the links
        parser.feed(page)
    return parser.links


def _describe(server: Server, source: str, limits: Limits, url: str, name: str) -> SourceFile:
    """The file with its size and version, as far as the server tells them without sending it."""
    headers = server.ask(partial(_head, url=url))
    size = headers.get("content-length", "")
    version = headers.get("etag") or headers.get("last-modified")
    read = partial(server.ask, partial(_read, url=url, most=int(limits.max_file_mb * 2**20)))
    return SourceFile(source, name, int(size) if size.isdigit() else 0, _redacting(read), version=version)


def _redacting(read: Callable[[], bytes]) -> Callable[[], bytes]:
    def reading() -> bytes:
        try:
            return read()
        except httpx.HTTPStatusError as error:
            raise OSError(f"the server answers {error.response.status_code}") from None
        except httpx.HTTPError as error:
            raise OSError(redact(str(error) or type(error).__name__)) from None

    return reading


def _head(client: httpx.Client, url: str) -> httpx.Headers:
    """The answer's head; an empty one where the server has none, so that the reason comes with reading."""
    try:
        response = client.head(url)
    except httpx.ConnectError:
        raise
    except httpx.TransportError:
        return httpx.Headers()
    if response.status_code in PASSING:
        response.raise_for_status()
    encoded = response.headers.get("content-encoding", "identity") != "identity"
    return httpx.Headers() if response.is_error or encoded else response.headers


def _read(client: httpx.Client, url: str, most: int) -> bytes:
    """The content.

    Raises:
        httpx.HTTPError: as httpx.
        BadImageError: it is longer than `most` bytes.
    """
    content = bytearray()
    with client.stream("GET", url) as response:
        response.raise_for_status()
        for block in response.iter_bytes():
            content += block
            if len(content) > most:
                raise BadImageError(f"more than ingest.max_file_mb = {most / 2**20:g}", "too_large")
    return bytes(content)


def _fetch(server: Server, url: str, target: Path, known: Version) -> Version | None:
    """Write the content into `target`; None where the server says that `known` is the latest."""
    asked = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}

    def request(client: httpx.Client) -> Version | None:
        with client.stream("GET", url, headers={name: value for name, value in asked.items() if value}) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return None
            response.raise_for_status()
            with target.open("wb") as stream:
                stream.writelines(response.iter_bytes(1 << 20))
            return Version(response.headers.get("etag", ""), response.headers.get("last-modified", ""))

    return server.ask(request)
