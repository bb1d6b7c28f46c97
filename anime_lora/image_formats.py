"""Which image formats are opened, and what a file is that is in none of them.

AVIF is in Pillow's own wheels; HEIC comes with pillow-heif, the extra `heif`.
"""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from PIL import features

FORMATS = {
    "PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif",
    **({"AVIF": ".avif"} if features.check("avif") else {}),
    **({"HEIF": ".heic"} if find_spec("pillow_heif") else {}),
}  # fmt: skip
"""Formats that are opened, by Pillow's name, and the suffix a file of each is stored with."""
SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif", ".heic",
    ".heif",
})  # fmt: skip
"""Suffixes of files in these formats, in lower case."""
_quiet = threading.Lock()
HEIF_EXTRA = "pip install 'anime-lora[heif]'"

SIGNATURES: dict[str, re.Pattern[bytes]] = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        "HEIC": rb"....ftyp(?:hei[cxms]|hev[cxms])",
        "AVIF": rb"....ftypavi[fs]",
        "HEIF": rb"....ftypm[is]f1",
        "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
        "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
        "a camera's raw": rb"II\*\0\x10\0\0\0CR|FUJIFILMCCD-RAW|IIR[OS]|IIU\0|....ftypcrx",
        "Photoshop": rb"8BPS",
        "GIMP": rb"gimp xcf",
        "SVG": rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,400}?)?(?:<!--.{0,400}?-->\s*)?(?:<!DOCTYPE svg.{0,400}?)?<svg[\s>]",
        "PDF": rb"%PDF-",
        "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
        "icon": rb"\0\0[\x01\x02]\0[\x01-\x40]\0|icns",
        "PNM": rb"P[1-7fF]\s+[#\dW]",
        "DDS": rb"DDS ",
        "Silicon Graphics": rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]",
        "Autodesk animation": rb".{4}[\x11\x12]\xaf",
        "Blizzard texture": rb"BLP[12]",
        "Windows metafile": rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF",
        "PCX": rb"\x0a[\0-\x05][\0\x01][\x01\x02\x04\x08]",
        "Targa": rb".\0[\x02\x03\x0a\x0b]\0{5}.{4}(?!\0\0)..(?!\0\0)..[\x08\x10\x18\x20]",
        "QOI": rb"qoif",
        "OpenEXR": rb"\x76\x2f\x31\x01",
        "Radiance HDR": rb"#\?(?:RADIANCE|RGBE)",
        "video": rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI |\0\0\x01\xba|FLV\x01",
        "a zip archive (to read it, name it in ingest.sources)": rb"PK[\x03\x05]",
        "an archive (to read one, name it in ingest.sources)": rb"Rar!|7z\xbc\xaf|\x1f\x8b|BZh\d|\xfd7zXZ|.{257}ustar",
    }.items()
}
"""How files of other formats begin; of several that fit, the first is named."""


def describe_unread(content: bytes) -> str | None:
    """What a file is that is in no format that is opened, as a reason; None where that cannot be told.

    Args:
        content: the file's bytes, or its first 2,000.
    """
    head = content[:2000]
    kind = next((name for name, pattern in SIGNATURES.items() if pattern.match(head)), None)
    of = "HEIF" if kind == "HEIC" else kind
    if kind is None or of in FORMATS:
        return None
    if of == "HEIF":
        return f"{kind}: format not read here: {HEIF_EXTRA}"
    return f"{kind}: format not read here ({', '.join(FORMATS)} are)"


@contextmanager
def quiet_decoder(kind: str | None) -> Iterator[None]:
    """Keep libtiff from printing a line for each odd tag: it writes to the process's standard error by itself."""
    if kind != "TIFF":
        yield
        return
    with _quiet:
        try:
            before = os.dup(2)
        except OSError:  # the process has no standard error
            yield
            return
        sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            os.close(nowhere)


def register_plugins() -> None:
    """Let Pillow open HEIC where pillow-heif is installed."""
    if "HEIF" in FORMATS:
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
