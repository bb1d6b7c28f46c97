from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl
from anime_lora.images import to_rgb
from tests.data.conftest import Project, image

OUT = Path("data/resize")
WHITE = (255, 255, 255)


def test_squares_are_rgb_of_the_asked_size_and_hash_as_said(project: Project) -> None:
    project.add(2)
    image(5, mode="L").save(project.source / "grey.png")
    project.ingest()
    project.validate()
    project.resize(size=512)
    for row in read_jsonl(OUT / "manifest.jsonl"):
        square = Image.open(OUT / row["file"])
        assert (square.mode, square.size) == ("RGB", (512, 512))
        assert sha256(square.tobytes()).hexdigest() == row["pixel_sha256"]


def test_alpha_lies_on_the_background() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert to_rgb(clear, (1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert to_rgb(half, WHITE).getpixel((0, 0)) == (255, 127, 127)


def test_a_camera_turned_image_stands_upright() -> None:
    turned = Image.new("RGB", (8, 4))
    turned.getexif()[0x0112] = 6
    assert to_rgb(turned, WHITE).size == (4, 8)


def test_sixteen_bit_grey_keeps_its_range() -> None:
    values = np.array([[0, 32896, 65535]], np.uint16)
    assert [p[0] for p in to_rgb(Image.fromarray(values), WHITE).get_flattened_data()] == [0, 128, 255]


def test_fit_and_focus(project: Project) -> None:
    tall = Image.new("RGB", (130, 260), (0, 0, 255))
    tall.paste(image(3, side=128), (1, 0))
    tall.save(project.source / "tall.png")
    project.add(2)
    project.ingest()
    project.validate(max_aspect=2.5, min_sharpness=0)

    def made(**how: object) -> np.ndarray:
        project.resize(**how)
        row = next(row for row in read_jsonl(OUT / "manifest.jsonl") if row["path"] == "tall.png")
        return np.asarray(Image.open(OUT / row["file"])).astype(int)

    blue = lambda pixels: (np.abs(pixels - [0, 0, 255]).sum(-1) < 30).mean()  # noqa: E731
    assert blue(made(focus="face")) < blue(made(focus="center")) - 0.1
    padded = made(fit="pad", background=(9, 9, 9))
    assert (np.abs(padded[:, :10] - 9).max(), np.abs(padded[:, -10:] - 9).max()) == (0, 0)


def test_only_a_new_image_is_made_and_a_lost_square_comes_back(
    project: Project, tree: Callable[[Path], dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    project.add(3)
    project.all()
    before = tree(OUT)
    capsys.readouterr()
    project.resize()
    assert "0 made anew, 3 reused" in capsys.readouterr().out
    next(Path(".cache/resize").rglob("*.png")).unlink()
    project.resize()
    assert "1 made anew" in capsys.readouterr().out
    assert tree(OUT) == before


def test_a_lost_stored_image_says_what_to_run(project: Project) -> None:
    project.add(2)
    project.ingest()
    project.validate()
    next(Path("data/ingest/store").rglob("*.png")).unlink()
    with pytest.raises(DatasetError, match="anime_lora ingest"):
        project.resize()
    assert not OUT.exists()
