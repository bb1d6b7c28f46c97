"""Every mistake a person makes on the command line is one line that says what to write instead."""

import shlex
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from anime_lora import cli
from anime_lora.config.load import Params
from anime_lora.errors import AnimeLoraError

SETTINGS = "Steps: 2, Sampler: DDIM, CFG scale: 5, Seed: 3, Size: 64x64, Denoising strength: 0.5"
MISTAKES = [
    ("--source gone.jpg", "--source gone.jpg: no such file or folder"),
    ("--source notes.txt", "not an image in a known format"),
    ("--source empty", "the folder holds no image (.avif"),
    ("--source cut.jpg", "cut.jpg cannot be read as an image: damaged"),
    ("--source photo.jpg --strength 2", "give a number from 0 to 1, such as --strength 0.65"),
    ("--source photo.jpg --strength 0", "use 0.3 to 0.9"),
    ("--source photo.jpg --strength much", "--strength much: give a number"),
    ("--source photo.jpg --strength nan", "--strength nan: give a number"),
    ("--strength 0.5", "add --source IMAGE"),
    ("--source photo.jpg --steps 3 --strength 0.3", "leaves no denoising step: use --steps 4 or more"),
    ("--source photo.jpg --crop 60,0,60", "photo.jpg has 90x60 pixels, and the square ends at 120,60: make it smaller"),
    ("--source photo.jpg --crop eyes", "write face, top, center, or LEFT,TOP,SIDE of a square in pixels"),
    ("--crop top", "--crop is for image to image: add --source IMAGE"),
    ("--steps 0", "give a whole number from 1 to 200"),
    ("--steps ten", "--steps ten: give a whole number"),
    ("--steps 20.5", "--steps 20.5: give a whole number"),
    ("--guidance 0.5", "give a number from 1 to 50, such as --guidance 7"),
    ("--size 100", "in steps of 8, such as --size 96x96"),
    ("--size 16x512", "from 32 to 4096 pixels in steps of 8, such as --size 32x512"),
    ("--size big", "--size big: give pixels, such as --size 256 or 256x384"),
    ("--seed abc", "--seed abc: a seed is a whole number from 0"),
    ("--seed=-1", "--seed -1: a seed is a whole number"),
    ("--seed 0b1011011101", "--seed 0b1011011101: a seed is a whole number"),
    ("--seed 9-1", "--seed 9-1: a seed"),
    ("--seed 1-5000", "(at most 1000)"),
    ("--scheduler 'Euler b'", "did you mean 'Euler"),
    ("--scheduler magic", "there are: Euler, Euler a, DPM++ 2M, "),
    ("--clip-skip 0", "give a whole number from 1 to 12"),
    ("--clip-skip 5", "this base's text encoder has 2 layers; use 1 or 2"),
    ("--batch 0", "give a whole number from 1 to 64"),
    ("--lora gone.safetensors", "LoRA gone.safetensors: there is no such file, here or in models/champion"),
    ("--lora mystyle_face", "did you mean 'myStyle_face'?"),
    ("--lora data/train/myStyle_face.safetensors:abc", "the weight 'abc' is no number from -10 to 10"),
    ("--lora data/train/myStyle_face.safetensors:99", "the weight '99' is no number from -10 to 10"),
    ("--lora data/train/myStyle_face.safetensors:", "the weight '' is no number"),
    ("--lora empty", "the folder holds no pytorch_lora_weights.safetensors; name a .safetensors file"),
    ("--lora notes.txt", "notes.txt"),
    ("--lora photo.jpg", "photo.jpg"),
    ("--no-lora --lora myStyle_face", "leave one of them out"),
    ("'girl <lora:gone:1>'", "LoRA gone: there is no such file"),
    ("--prompts gone.txt", "name a text file with one prompt a line"),
    ("--prompts blank.txt", "it is empty: write one prompt a line"),
    ("--prompts latin.txt", "save it as UTF-8"),
    ("--xyz qqq=1", "write NAME=VALUE,VALUE; there are: prompt, negative"),
    ("--xyz sed=1,2", "did you mean 'seed'?"),
    ("--xyz seed=", "write --xyz seed=VALUE,VALUE"),
    ("--xyz strength=0.5,0.8", "--xyz strength: there is no source; add --source IMAGE"),
    ("--no-lora --xyz scale=0,1", "there is no LoRA whose scale could change; add --lora FILE"),
    ("--xyz seed=1 --xyz steps=1 --xyz guidance=2 --xyz clip-skip=1", "at most 3 different settings"),
    ("--xyz seed=1 --xyz seed=2", "at most 3 different settings"),
    ("--xyz seed=1-1000 --xyz steps=1,2", "and 1000 images in one grid"),
    ("--xyz guidance=high", "--xyz guidance high: give a number"),
    ("--from gone.png", "--from gone.png: cannot be read (No such file or directory): name an image file"),
    ("--from notes.txt", "name an image that was generated"),
    ("--from photo.jpg", "says nothing about how it was made"),
    ("--from web.png", "it was made from another image (unnamed): give that by --source"),
    ("--from odd.png", "its settings cannot be read"),
    ("--controlnet net", "no image whose edges it could follow: add --control-image IMAGE"),
    ("--control-image photo.jpg", "there is no ControlNet for --control-image or --control-scale: name one by"),
    ("--control-image gone.jpg --controlnet net", "--control-image gone.jpg cannot be read"),
    ("--control-scale 1", "name one by --controlnet FOLDER"),
    ("--control-image photo.jpg --controlnet net", "controlnet"),
    ("--out photo.jpg", "--out photo.jpg"),
    ("--out data/train", "use --out generated"),
    ("--xyz base=gone", "base.model gone is not there"),
]  # fmt: skip


@pytest.fixture
def files(project: Path, photo: Path) -> Path:
    """What a person may have in a folder."""
    (project / "empty").mkdir()
    (project / "notes.txt").write_text("hello " * 20)
    (project / "blank.txt").write_text("\n \n")
    (project / "latin.txt").write_bytes(b"caf\xe9\n")
    (project / "cut.jpg").write_bytes(photo.read_bytes()[:400])
    for name, settings in {"web.png": SETTINGS, "odd.png": SETTINGS.replace("Seed: 3", "Seed: three")}.items():
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", f"girl\n{settings}, RNG: CPU")
        Image.new("RGB", (8, 8)).save(project / name, pnginfo=info)
    return project


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[arguments for arguments, *_ in MISTAKES])
@pytest.mark.usefixtures("files")
def test_a_mistake_is_one_line_with_the_fix(
    arguments: str, message: str, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.generate, "read_params", lambda: params)
    result = CliRunner().invoke(cli.app, ["generate", *shlex.split(arguments)])
    assert isinstance(result.exception, AnimeLoraError), result.output
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not list(Path("generated").glob("*.png"))


def test_without_a_lora_the_command_says_how_to_get_one(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (project / "data" / "train").iterdir():
        file.unlink()
    monkeypatch.setattr(cli.generate, "read_params", lambda: params)
    error = CliRunner().invoke(cli.app, ["generate"]).exception
    assert "train one by `make run` or `dvc repro train`, name a file by --lora FILE, or use --no-lora" in str(error)
