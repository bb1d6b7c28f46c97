"""One file is one image to every room, and what is no image is a `BadImageError` with its reason."""

import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngImageFile

from anime_lora.errors import BadImageError
from anime_lora.images import (
    HASH_SIDE,
    a1111_parameters,
    crop_square,
    decode,
    luma,
    perceptual_hash,
    png_bytes,
    read_rgb,
    read_size,
    to_rgb,
)

ROOT = Path(__file__).parents[1]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def noise(seed: int = 0, side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_a_rotated_photo_stands_upright(tmp_path: Path) -> None:
    """EXIF orientation 6: the camera was turned, the left column of the stored pixels is the upper edge."""
    image = Image.new("RGB", (40, 20), BLUE)
    image.paste(RED, (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "x.png").write_bytes(saved(image, exif=exif))
    upright = read_rgb(tmp_path / "x.png")
    assert upright.size == (20, 40)
    assert [upright.getpixel((10, y)) for y in (5, 35)] == [RED, BLUE]
    assert read_size(tmp_path / "x.png") == (40, 20)


def test_a_phone_s_two_frame_jpeg_is_a_jpeg() -> None:
    """Phones add a second frame (a depth map or a preview); the first is the photo."""
    first, second = (noise(seed).resize((32, 32)) for seed in (0, 1))
    opened = decode(saved(first, "MPO", save_all=True, append_images=[second]))
    assert opened.format == "JPEG"
    assert np.abs(np.asarray(to_rgb(opened), float) - np.asarray(first, float)).mean() < 40


@pytest.mark.parametrize(
    ("kind", "exif"),
    [(kind, exif) for kind in ("PNG", "JPEG", "WEBP") for exif in (b"garbage", b"Exif\0\0II*\0\xff\xff\xff\xff")],
)
def test_exif_that_cannot_be_read_costs_the_rotation_only(kind: str, exif: bytes) -> None:
    opened = decode(saved(noise(), kind, exif=exif))
    assert to_rgb(opened).tobytes() == decode(saved(noise(), kind)).convert("RGB").tobytes()


@pytest.mark.parametrize(("kind", "xmp"), [("PNG", "XML:com.adobe.xmp"), ("JPEG", "xmp"), ("WEBP", "xmp")])
@pytest.mark.parametrize("value", [b'tiff:Orientation="', b'<\xff tiff:Orientation="9"', 7, ["tiff:Orientation"]])
def test_xmp_that_cannot_be_read_costs_the_rotation_only(kind: str, xmp: str, value: object) -> None:
    opened = decode(saved(noise(), kind))
    plain = to_rgb(opened).tobytes()
    opened.info[xmp] = value
    assert to_rgb(opened).tobytes() == plain


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_as_pillow_has_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = decode(saved(noise().crop((0, 0, 40, 64)), exif=exif))
    upright = ImageOps.exif_transpose(opened).convert("RGB")
    assert (to_rgb(opened).size, to_rgb(opened).tobytes()) == (upright.size, upright.tobytes())


@pytest.mark.parametrize(
    ("error", "code"),
    [(MemoryError(), "memory"), (struct.error("short"), "damaged"), (KeyError("MPO"), "damaged"),
     (ZeroDivisionError(), "damaged"), (Image.DecompressionBombError(), "bomb")],
)  # fmt: skip
@pytest.mark.parametrize("call", ["load", "convert", "transpose"])
def test_whatever_pillow_raises_is_one_error_with_a_code(
    error: Exception, code: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding, colour conversion and rotation alike."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(noise(), exif=exif)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(PngImageFile if call == "load" else Image.Image, call, fail)
    with pytest.raises(BadImageError) as caught:
        to_rgb(decode(content))
    assert caught.value.code == code
    assert str(caught.value)


def test_an_error_keeps_its_code_on_the_way_out_of_a_worker() -> None:
    again = pickle.loads(pickle.dumps(BadImageError("no room", "memory")))
    assert (str(again), again.code) == ("no room", "memory")


def swapped_primaries() -> bytes:
    """A profile whose red is sRGB's blue and the other way round."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tmpX").replace(b"bXYZ", b"rXYZ").replace(b"tmpX", b"bXYZ")


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("WEBP", "RGB"), ("WEBP", "RGBA")],
)
def test_colours_of_another_profile_are_those_that_are_meant(kind: str, mode: str) -> None:
    image = Image.new("RGB", (16, 16), (200, 40, 90)).convert(mode, palette=Image.Palette.ADAPTIVE)
    options = {} if kind == "PNG" else {"quality": 100}
    stored = decode(saved(image, kind, icc_profile=swapped_primaries(), **options))
    assert to_rgb(stored).getpixel((8, 8)) == pytest.approx((90, 40, 200), abs=4)


def test_a_transparent_image_keeps_its_alpha_beside_its_profile() -> None:
    image = Image.new("RGBA", (2, 1), (200, 40, 90, 255))
    image.putpixel((1, 0), (0, 255, 0, 0))
    opened = to_rgb(decode(saved(image, icc_profile=swapped_primaries())), BLUE)
    assert opened.getpixel((0, 0)) == pytest.approx((90, 40, 200), abs=2)
    assert opened.getpixel((1, 0)) == BLUE


@pytest.mark.parametrize("profile", [b"", b"no profile", swapped_primaries()[:200], bytes(1000), b"\xff" * 5000])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "I;16", "1"])
def test_a_profile_that_cannot_be_used_costs_no_colour(profile: bytes, mode: str) -> None:
    image = Image.new("I;16", (8, 8), 700) if mode == "I;16" else noise(side=8).convert(mode)
    plain = to_rgb(image).tobytes()
    image.info["icc_profile"] = profile
    assert to_rgb(image).tobytes() == plain


@pytest.mark.parametrize("mode", ["L", "LA", "CMYK", "I;16"])
def test_a_profile_of_another_colour_space_is_left_out(mode: str) -> None:
    image = Image.new("I;16", (8, 8), 700) if mode == "I;16" else noise(side=8).convert(mode)
    plain = to_rgb(image).tobytes()
    image.info["icc_profile"] = swapped_primaries()
    assert to_rgb(image).tobytes() == plain


def test_transparent_pixels_show_the_background() -> None:
    """Half transparent is half the background; a palette's transparent colour is none of its colours."""
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    image.putpixel((1, 0), (0, 255, 0, 0))
    assert [to_rgb(image).getpixel((x, 0)) for x in (0, 1)] == [RED, (255, 255, 255)]
    assert to_rgb(image, BLUE).getpixel((1, 0)) == BLUE
    assert to_rgb(Image.new("RGBA", (1, 1), (*RED, 128)), (0, 0, 0)).getpixel((0, 0)) == (128, 0, 0)
    palette = decode(saved(Image.new("P", (1, 1), 0), transparency=0))
    assert to_rgb(palette, BLUE).getpixel((0, 0)) == BLUE


def test_16_bit_grey_keeps_its_shades() -> None:
    """Pillow's own conversion to 8 bits makes all but the darkest shades white."""
    image = decode(saved(Image.fromarray(np.array([[0, 32896, 65535]], np.uint16))))
    assert [to_rgb(image).getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image"),
        (b"this is no image", "not an image"),
        (saved(noise(), "PPM"), "PNM: format not read here"),
        (saved(noise())[:3000], "damaged"),
        (saved(noise(), "JPEG")[:1000], "damaged"),
    ],
    ids=["empty", "text", "ppm", "half a png", "half a jpeg"],
)
def test_what_is_no_whole_image_has_a_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    """Also where the head alone is sound: an image is decoded to its end."""
    with pytest.raises(BadImageError, match=reason):
        decode(content)
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(BadImageError, match=rf"x\.png cannot be read as an image: {reason}"):
        read_rgb(tmp_path / "x.png")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match=r"x\.png cannot be read: No such file"):
        read_rgb(tmp_path / "x.png")


def test_the_limit_of_pixels_holds_before_decoding() -> None:
    content = saved(noise())[:200]
    with pytest.raises(BadImageError, match=r"64x64 pixels, more than ingest\.max_pixels = 4095"):
        decode(content, 4095)
    with pytest.raises(BadImageError, match="damaged"):
        decode(content, 4096)


def test_the_square_is_the_middle_and_of_a_tall_image_what_is_asked_for() -> None:
    tall = Image.new("RGB", (40, 120), BLUE)
    tall.paste(RED, (0, 0, 40, 40))
    assert crop_square(tall, 20).getpixel((10, 10)) == BLUE
    assert crop_square(tall, 20, 0.0).getpixel((10, 10)) == RED
    wide = tall.transpose(Image.Transpose.ROTATE_90)
    assert crop_square(wide, 20, 0.0) == crop_square(wide, 20)


def test_luma_is_weighted_as_the_eye_sees() -> None:
    assert luma(Image.new("RGB", (9, 7), RED), 4) == pytest.approx(np.full((4, 4), 76.0))
    assert luma(Image.new("RGB", (9, 7), (0, 255, 0)), 4)[0, 0] == 150


def test_the_perceptual_hash_outlives_resizing_and_brightness_and_tells_images_apart() -> None:
    smooth, other = (noise(seed).filter(ImageFilter.GaussianBlur(4)) for seed in (0, 1))

    def bits(image: Image.Image) -> np.ndarray:
        return perceptual_hash(luma(image, HASH_SIDE))

    assert (bits(smooth) != bits(smooth.resize((200, 200)))).sum() <= 4
    assert (bits(smooth) != bits(smooth.point(lambda value: value * 0.7))).sum() <= 4
    assert (bits(smooth) != bits(other)).sum() > 16


def test_a_png_carries_its_parameters_and_nothing_else() -> None:
    image = noise()
    with Image.open(io.BytesIO(png_bytes(image, "girl\nSteps: 2"))) as opened:
        assert opened.text == {"parameters": "girl\nSteps: 2"}
        assert opened.tobytes() == image.tobytes()
    with Image.open(io.BytesIO(png_bytes(image))) as opened:
        assert opened.text == {}


def test_no_other_module_opens_image_files() -> None:
    opening = [
        file.relative_to(ROOT).as_posix()
        for room in ("anime_lora", "tasks", "flows")
        for file in (ROOT / room).rglob("*.py")
        if "Image.open(" in file.read_text(encoding="utf-8")
    ]
    assert opening == ["anime_lora/images.py"]


def test_parameters_name_prompt_loras_and_settings_as_a_web_ui_reads_them() -> None:
    """Brackets of the prompt are escaped, those of a LoRA's tag are not; a value with a comma is one JSON string."""
    settings: dict[str, str | float] = {"Steps": 20, "Model": "soft, anime"}
    text = a1111_parameters("saber (fate)", settings, negative_prompt="[blurry]", loras={"t_c": 0.8})
    assert text.split("\n") == [
        r"saber \(fate\) <lora:t_c:0.8>",
        r"Negative prompt: \[blurry\]",
        'Steps: 20, Model: "soft, anime"',
    ]
