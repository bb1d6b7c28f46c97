"""Every kind of image has the colours that are meant: known values of each mode, depth, profile and transparency."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from anime_lora.errors import BadImageError
from anime_lora.images import ANY_SIZE, BYTES_PER_PIXEL, UPRIGHT, decode, to_rgb
from benchmarks import image_memory
from tests.test_images import saved

BLUE = (0, 0, 255)
Colour = tuple[int, int, int]


def colours(content: bytes, background: Colour = BLUE) -> list[Colour]:
    """The first row of the decoded file."""
    image = to_rgb(decode(content), background)
    return [tuple(pixel) for pixel in np.asarray(image)[0].tolist()]


def close(first: Colour, second: Colour, by: int = 1) -> bool:
    return all(abs(one - other) <= by for one, other in zip(first, second, strict=True))


def png(depth: int, kind: int, row: bytes, width: int, transparent: bytes | None = None) -> bytes:
    """A PNG of one row; kind 0: grey, 2: RGB, 4: grey and alpha, 6: RGBA."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0))]
    chunks += [(b"tRNS", transparent)] if transparent else []
    chunks += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def shorts(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


@pytest.mark.parametrize(("content", "expected"), [
    (png(16, 0, shorts(0, 0x8080, 0xFFFF), 3), [(0, 0, 0), (128, 128, 128), (255, 255, 255)]),
    (png(16, 2, shorts(0xC8C8, 0x2828, 0x5A5A), 1), [(200, 40, 90)]),
    (png(16, 4, shorts(0x8080, 0xFFFF, 0x8080, 0), 2), [(128, 128, 128), BLUE]),
    (png(16, 6, shorts(0xC8C8, 0x2828, 0x5A5A, 0xFFFF, 0xFFFF, 0, 0, 0x8080), 2), [(200, 40, 90), (128, 0, 127)]),
    (png(16, 0, shorts(0x8080, 0x1234), 2, shorts(0x1234)), [(128, 128, 128), BLUE]),
    (png(16, 2, shorts(0xC8C8, 0x2828, 0x5A5A, 1, 2, 0xFFFF), 2, shorts(1, 2, 0xFFFF)), [(200, 40, 90), BLUE]),
    (png(8, 0, bytes([7, 9]), 2, shorts(9)), [(7, 7, 7), BLUE]),
    (png(8, 2, bytes([200, 40, 90, 1, 2, 3]), 2, shorts(1, 2, 3)), [(200, 40, 90), BLUE]),
    (png(1, 0, b"\x40", 2), [(0, 0, 0), (255, 255, 255)]),
], ids=["grey", "rgb", "grey+alpha", "rgba", "transparent grey", "transparent rgb", "8-bit grey", "8-bit rgb", "1-bit"],
)  # fmt: skip
def test_a_png_of_any_depth_has_its_colours(content: bytes, expected: list[Colour]) -> None:
    assert all(close(one, other) for one, other in zip(colours(content), expected, strict=True))


@pytest.mark.parametrize(("values", "expected"), [
    (np.array([[0, 0x8080, 0xFFFF]], np.uint16), (0, 128, 255)),
    (np.array([[0, 0x8080, 0xFFFF]], np.int32), (0, 128, 255)),
    (np.array([[0, 128, 255]], np.int32), (0, 128, 255)),
    (np.array([[0, 0.5, 1]], np.float32), (0, 128, 255)),
    (np.array([[0, 128, 255]], np.float32), (0, 128, 255)),
    (np.array([[-1, np.nan, 1]], np.float32), (0, 0, 255)),
], ids=["16", "32 of 16", "32 of 8", "float of 1", "float of 255", "below 0 and no number"])  # fmt: skip
def test_a_tiff_of_any_depth_has_its_greys(values: np.ndarray, expected: Colour) -> None:
    content = saved(Image.fromarray(values), "TIFF")
    assert colours(content) == [(value, value, value) for value in expected]


def test_a_scan_in_which_0_is_white_is_not_inverted() -> None:
    """Pillow inverts those of 8 bits itself, in both directions, and leaves those of 16 as they stand."""
    deep = Image.fromarray(np.array([[0, 0xFFFF]], np.uint16))
    assert colours(saved(deep, "TIFF", tiffinfo={262: 0})) == [(255, 255, 255), (0, 0, 0)]
    shallow = Image.fromarray(np.array([[0, 255]], np.uint8))
    assert colours(saved(shallow, "TIFF", tiffinfo={262: 0})) == [(0, 0, 0), (255, 255, 255)]


def without_adobe(content: bytes) -> bytes:
    """A JPEG without its Adobe marker (APP14)."""
    start = content.index(b"\xff\xee")
    return content[:start] + content[start + 2 + struct.unpack(">H", content[start + 2 : start + 4])[0] :]


INK = (20, 200, 120, 30)
"""Cyan, magenta, yellow and black."""
SEEN = tuple(round(255 * (1 - ink / 255) * (1 - INK[3] / 255)) for ink in INK[:3])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile_is_rgb_by_the_formula(kind: str) -> None:
    content = saved(Image.new("CMYK", (16, 16), INK), kind, **({"quality": 100} if kind == "JPEG" else {}))
    assert close(colours(content)[0], SEEN, 3)


def test_cmyk_is_the_same_without_an_adobe_marker() -> None:
    """Files without it are written inverted, too, and browsers show them so."""
    content = saved(Image.new("CMYK", (16, 16), INK), "JPEG", quality=100)
    assert b"Adobe" in content
    assert b"Adobe" not in without_adobe(content)
    assert colours(without_adobe(content)) == colours(content)


def icc(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2."""
    white = struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x" + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + white,
        **tags,
    }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">2I", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = (
        struct.pack(">I4sI", start + len(body), b"lcms", 0x02400000) + kind + space + connection + bytes(12) + b"acsp"
    )
    head += bytes(28) + white + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def linear_grey() -> bytes:
    """Grey whose values are amounts of light: half of 255 is half the light, which sRGB writes as 188."""
    return icc(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": b"curv" + bytes(4) + struct.pack(">I", 0)})


def one_grey_ink() -> bytes:
    """CMYK in which cyan is a middle grey (L* 50, which is 119 in sRGB); magenta and yellow leave no trace."""
    ramp = bytes(range(256))
    corners = b"".join(bytes([0 if corner % 2 else 255 if corner < 8 else 128, 128, 128]) for corner in range(16))
    identity = struct.pack(">9i", *[65536 if i % 4 == 0 else 0 for i in range(9)])
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + corners + ramp * 3
    return icc(b"CMYK", b"Lab ", b"prtr", {b"A2B0": table})


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_with_a_profile_of_its_own_is_as_bright_as_is_meant(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((1, 2), 0x8080, np.uint16))
    else:
        image = Image.new(mode, (2, 1), (128, 255)[: len(mode)] if mode == "LA" else 128)
    if mode == "LA":
        image.putpixel((1, 0), (128, 0))
    content = saved(image, icc_profile=linear_grey())
    assert close(colours(content)[0], (188, 188, 188))
    assert close(colours(content)[1], BLUE if mode == "LA" else (188, 188, 188))


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_with_a_profile_is_what_its_inks_look_like(adobe: bool) -> None:
    content = saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100, icc_profile=one_grey_ink())
    assert close(colours(content if adobe else without_adobe(content))[0], (119, 119, 119), 2)
    plain = saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100)
    assert close(colours(plain)[0], (0, 255, 255), 3)


@pytest.mark.parametrize(("lab", "expected"), [
    ((50, 0, 0), (119, 119, 119)), ((45.6, 63.4, 13.2), (200, 40, 90)), ((49.6, 3.2, -59.4), (30, 120, 220)),
])  # fmt: skip
def test_lab_is_the_colour_that_is_meant(lab: tuple[float, float, float], expected: Colour) -> None:
    """CIELAB under D50, in steps of one."""
    encoded = (round(lab[0] * 2.55), round(lab[1]) + 128, round(lab[2]) + 128)
    content = saved(Image.new("LAB", (4, 4), encoded), "TIFF")
    assert close(colours(content)[0], expected, 4)


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "P"])
@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (12, 200, 77)])
def test_the_chosen_background_shows_through_every_kind_of_transparency(mode: str, background: Colour) -> None:
    grey = Image.new("LA", (3, 1), (100, 255))
    grey.putpixel((1, 0), (100, 0))
    grey.putpixel((2, 0), (100, 51))
    if mode == "P":
        image = Image.new("P", (3, 1), 0)
        image.putpalette([100, 100, 100] * 3)
        image.putdata([0, 1, 2])
        image = decode(saved(image, transparency=bytes([255, 0, 51])))
    else:
        image = grey.convert("RGBA").convert(mode) if mode != "PA" else palette_with_alpha(grey)
    seen = [tuple(pixel) for pixel in np.asarray(to_rgb(image, background))[0].tolist()]
    mixed = tuple(round(0.2 * 100 + 0.8 * value) for value in background)
    assert all(close(one, other) for one, other in zip(seen, [(100, 100, 100), background, mixed], strict=True))


def palette_with_alpha(grey: Image.Image) -> Image.Image:
    image = Image.new("PA", grey.size)
    image.putpalette([value for level in range(256) for value in (level, level, level)])
    for x in range(grey.width):
        image.putpixel((x, 0), grey.getpixel((x, 0)))
    return image


@pytest.mark.parametrize("orientation", [1, *UPRIGHT])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "L"])
def test_strips_make_the_image_that_one_piece_makes(
    mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last one is lower than the others, and however the image has to be turned."""
    values = np.random.default_rng(0).integers(0, 256, (37, 23, 4), dtype=np.uint8)
    image = Image.fromarray(values, "RGBA").convert("RGB" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = decode(saved(image, exif=exif))
    whole = to_rgb(stored, BLUE)
    monkeypatch.setattr("anime_lora.images.STRIP", 23 * 10)
    parts = to_rgb(stored, BLUE)
    assert (parts.size, parts.tobytes()) == (whole.size, whole.tobytes())
    flat = to_rgb(decode(saved(image)), BLUE)
    expected = flat.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else flat
    assert (whole.size, whole.tobytes()) == (expected.size, expected.tobytes())


def test_the_result_carries_no_profile_that_would_be_applied_again() -> None:
    """The square that is saved from it is sRGB; trainers and viewers would convert it once more."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = to_rgb(decode(saved(Image.new("RGB", (4, 4), (200, 40, 90)), icc_profile=profile)))
    assert "icc_profile" not in image.info
    assert close(image.getpixel((0, 0)), (200, 40, 90))


def test_the_limit_of_pixels_is_honoured_upwards_too() -> None:
    """Pillow's own limits are 89 and 179 megapixels."""
    content = saved(Image.new("1", (20_000, 10_000)))
    with pytest.raises(BadImageError, match="decompression bomb"):
        decode(content)
    with pytest.raises(BadImageError, match=r"20000x10000 pixels, more than ingest\.max_pixels = 199999999"):
        decode(content, 199_999_999)
    assert decode(content, 200_000_000).size == (20_000, 10_000)
    assert decode(content, ANY_SIZE).size == (20_000, 10_000)
    assert Image.MAX_IMAGE_PIXELS is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png rgba turned", "jpeg cmyk", "webp rgba", "png rgb with a profile"])
def test_the_memory_of_an_image_stays_within_what_workers_are_counted_by(kind: str, tmp_path: Path) -> None:
    """Of 9 megapixels: PNG and JPEG take about 10 bytes a pixel, WebP with alpha the most; libraries take some MB."""
    file = image_memory.write(tmp_path, kind, 3000)
    for step in ("measure", "square"):
        megabytes = image_memory.peak(file, step)
        assert megabytes < 30 + 9 * (BYTES_PER_PIXEL if "webp" in kind else 10)
