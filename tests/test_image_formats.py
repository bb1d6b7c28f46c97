"""Sound files of other formats are called by their name; what is opened is opened whole."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from anime_lora import image_formats
from anime_lora.errors import BadImageError
from anime_lora.image_formats import FORMATS, SUFFIXES, describe_unread
from anime_lora.images import decode, to_rgb
from tests.data.conftest import image


def saved(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image(3, side=64).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_every_format_is_opened_with_its_pixels(kind: str) -> None:
    opened = decode(saved(kind), 10**6)
    assert (opened.format, opened.size) == (kind, (64, 64))
    difference = np.abs(np.asarray(to_rgb(opened), float) - np.asarray(image(3, side=64), float)).mean()
    assert difference < (30 if kind == "GIF" else 12)
    assert FORMATS[kind] in SUFFIXES


def test_of_a_moving_image_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "TIFF", "WEBP", "AVIF"):
        stream = io.BytesIO()
        frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
        red, _, blue = to_rgb(decode(stream.getvalue())).getpixel((5, 5))  # type: ignore[misc]
        assert (red > 240, blue < 20) == (True, True), kind


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_a_format_s_own_files_are_no_other_format(kind: str) -> None:
    assert describe_unread(saved(kind)) is None


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"8BPS\0\1", "Photoshop"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xff\x0a\xfa\x7f\1", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0 ftypisom\0\0\2\0", "video"),
        (b"\x1a\x45\xdf\xa3\x9f", "video"),
        (b"P6\n2 2\n255\n", "PNM"),
        (b"\0\0\1\0\1\0\x10\x10", "icon"),
        (b"7z\xbc\xaf\x27\x1c", "an archive"),
        (b"\0\0\0\0\x12\xaf\1\0", "Autodesk animation"),
        (b"\xd7\xcd\xc6\x9a\0\0", "Windows metafile"),
    ],
)
def test_a_sound_file_of_another_format_is_called_by_its_name(content: bytes, name: str) -> None:
    with pytest.raises(BadImageError, match=f"^{name}.*: format not read here") as raised:
        decode(content)
    assert raised.value.code == "format"


def test_formats_that_pillow_writes_and_we_do_not_read_are_named() -> None:
    for kind in ("JPEG2000", "ICO", "PPM", "DDS", "TGA", "PCX", "SGI", "EPS", "PDF"):
        assert str(describe_unread(saved(kind))).endswith("are)"), kind
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.png", b"a")
    assert "to read it, name it in ingest.sources" in str(describe_unread(stream.getvalue()))


@pytest.mark.parametrize("content", [b"", b"words", b"\0" * 600, bytes(range(256)) * 4, b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_known_file_is_no_image(content: bytes) -> None:
    with pytest.raises(BadImageError, match="not an image in a known format") as raised:
        decode(content)
    assert raised.value.code == "no_image"


def test_a_damaged_tiff_is_a_reason_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """libtiff prints by itself; what others print before and after is kept."""
    content = saved("TIFF", compression="tiff_lzw")
    os.write(2, b"before ")
    with pytest.raises(BadImageError, match="damaged"):
        decode(content[:8] + b"\xff" * 40 + content[48:])
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_a_kind_of_a_format_that_pillow_does_not_read_is_no_damage() -> None:
    content = bytearray(saved("BMP"))
    content[28] = 2  # bits per pixel
    with pytest.raises(BadImageError, match="of a kind that is not read here, or damaged: Unsupported BMP") as raised:
        decode(bytes(content))
    assert raised.value.code == "format"


def test_heic_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved("HEIF") if "HEIF" in FORMATS else b"\0\0\0\x1cftypheic\0\0\0\0"
    monkeypatch.setattr(image_formats, "FORMATS", {"PNG": ".png"})
    assert describe_unread(content) == "HEIC: format not read here: pip install 'anime-lora[heif]'"
