"""Whole commands on the tiny base: pixels, files, grids, and images made again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image, PngImagePlugin
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anime_lora.config.load import Params
from anime_lora.errors import OutputError
from anime_lora.generation.generate import generate
from anime_lora.generation.request import Options
from anime_lora.images import read_rgb
from anime_lora.sampling.generate import generate as generate_suite
from anime_lora.sampling.pipelines import Pipelines
from anime_lora.sampling.suite import Shot

pytestmark = pytest.mark.usefixtures("project")
LORA = "data/train/pytorch_lora_weights.safetensors"


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file), dtype=int)


def text(file: Path) -> str:
    return str(Image.open(file).text["parameters"])  # type: ignore[attr-defined]


@pytest.fixture
def run(params: Params) -> Callable[..., list[Path]]:
    def generate_images(**options: object) -> list[Path]:
        return generate(Options(**options), params)  # type: ignore[arg-type]

    return generate_images


Run = Callable[..., list[Path]]


def test_without_options_the_project_s_lora_makes_one_image_of_its_trigger(run: Run) -> None:
    (file,) = run()
    assert file == Path("generated/00001-101.png")
    assert text(file).startswith("myAnimeStyleToken anime_face portrait, high quality <lora:myStyle_face:1>\nSteps: 2,")
    (row,) = map(json.loads, Path("generated/images.jsonl").read_text().splitlines())
    assert (row["file"], row["seed"], row["loras"][0]["file"]) == ("00001-101.png", 101, LORA)
    assert row["parameters"] == text(file)


def test_the_same_command_gives_the_same_pixels_and_replaces_nothing(run: Run) -> None:
    first, second = run(seeds=("3",), prompts=("girl",)), run(seeds=("3",), prompts=("girl",))
    assert [file.name for file in (*first, *second)] == ["00001-3.png", "00002-3.png"]
    assert (pixels(first[0]) == pixels(second[0])).all()


def test_an_image_does_not_depend_on_what_is_generated_beside_it(run: Run) -> None:
    together = run(prompts=("girl", "boy"), seeds=("1-2",), batch="4")
    assert len(together) == 4
    (alone,) = run(prompts=("boy",), seeds=("2",))
    assert (pixels(together[3]) == pixels(alone)).all()
    assert (pixels(together[1]) != pixels(together[3])).any()


def test_diffusers_gives_the_same_pixels(run: Run, base_folder: Path) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(base_folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)
    pipe.load_lora_weights("data/train", weight_name="pytorch_lora_weights.safetensors", adapter_name="style")
    pipe.set_adapters(["style"], [0.8])
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="linspace")
    generator = torch.Generator().manual_seed(5)
    image = pipe("a girl", negative_prompt="bad", generator=generator, num_inference_steps=3, guidance_scale=6)
    asked = {"prompts": ("a girl",), "negative": "bad", "seeds": ("5",), "steps": "3", "guidance": "6"}
    (file,) = run(**asked, loras=(f"{LORA}:0.8",), scheduler="Euler a")
    assert (pixels(file) == np.asarray(image.images[0])).all()


def test_diffusers_gives_the_same_pixels_from_a_photo(run: Run, base_folder: Path, photo: Path) -> None:
    pipe = StableDiffusionImg2ImgPipeline.from_pretrained(base_folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)
    source = read_rgb(photo).crop((15, 0, 75, 60)).resize((64, 64), Image.Resampling.LANCZOS)
    generator = torch.Generator().manual_seed(5)
    image = pipe("a girl", image=source, strength=0.6, generator=generator, num_inference_steps=5, guidance_scale=6)
    (file,) = run(
        prompts=("a girl",), seeds=("5",), steps="5", guidance="6", source=photo, strength="0.6", no_lora=True
    )  # fmt: skip
    assert (pixels(file) == np.asarray(image.images[0])).all()


@pytest.mark.parametrize("source", [None, "photo.jpg"])
def test_validate_sample_gives_the_same_pixels(
    run: Run, params: Params, photo: Path, tmp_path: Path, source: str | None
) -> None:
    """At batch size 1: in larger batches validate-sample's images are up to 1/255 off."""
    pipelines = Pipelines(params.base, params.compute)
    pipelines.load_lora(Path(LORA), label="myStyle_face")
    strength = 0.5 if source else None
    shot = Shot("strength", "lora", "x", "a girl (x)", "", 4, 4, 6.0, lora_scale=1.0, source=source, strength=strength)
    memo = {"sources": tmp_path, "batch_size": 1, "on_progress": lambda _: None}
    suite = generate_suite([shot], pipelines, tmp_path / "memo", **memo)[shot]  # type: ignore[arg-type]
    asked = {"prompts": (r"a girl \(x\)",), "seeds": ("4",), "steps": "4", "guidance": "6"}
    (file,) = run(**asked, **({"source": photo, "strength": "0.5"} if source else {}))
    assert (pixels(file) == pixels(suite)).all()
    (again,) = run(again=suite, **({"source": photo} if source else {}))
    assert (pixels(again) == pixels(suite)).all()


def test_an_image_is_made_again_from_what_stands_in_it(
    run: Run, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With every option that changes pixels; the source is found by images.jsonl, or given."""
    (first,) = run(
        prompts=(r"a ((girl)), \(x\), [calm] <lora:myStyle_face:0.7>",), negative="(bad:1.3)", seeds=("9",), steps="4",
        guidance="4", scheduler="DPM++ 2M Karras", clip_skip="2", source=photo, strength="0.5", size="64x96",
        crop="10,5,40",
    )  # fmt: skip
    (second,) = run(again=first)
    assert (pixels(first) == pixels(second)).all()
    assert text(first) == text(second)
    assert "note:" not in capsys.readouterr().out
    moved = Path(shutil.copyfile(first, "moved.png"))
    (third,) = run(again=moved, source=photo, seeds=("10",))
    assert third.name == "00003-10.png"
    assert (pixels(first) != pixels(third)).any()


def test_what_cannot_be_met_of_an_image_is_said(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    info = PngImagePlugin.PngInfo()
    settings = (
        "Steps: 2, Sampler: Quick, Schedule type: Beta, CFG scale: 5, Seed: 3, Size: 64x64, Model hash: 6ce0161689"
    )
    info.add_text("parameters", f"girl <lora:gone:1>\n{settings}, Hires upscale: 2, Version: v1.10.1")
    Image.new("RGB", (8, 8)).save("web.png", pnginfo=info)
    (file,) = run(again=Path("web.png"))
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    for part in (
        "LoRA gone",
        "sampler Quick",
        "type Beta",
        "noise came from a GPU",
        "Hires upscale: 2",
        "model 6ce0161689",
    ):
        assert sum(part in note for note in notes) == 1, part
    assert len(notes) == 6
    assert text(file).startswith("girl\nSteps: 2, Sampler: DDIM,")


def test_a_prompt_without_quotes_is_noticed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(run(prompts=("a", "red", "cat"))) == 3
    assert "note: 3 prompts of one word each: put quotes around" in capsys.readouterr().out


def test_a_lora_of_another_base_is_named(
    run: Run, lora_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where its shapes fit."""
    with safe_open(lora_file, "pt") as opened:
        known = opened.metadata() or {}
    other = str(tmp_path / "other.safetensors")
    save_file(load_file(lora_file), other, {**known, "anime_lora.base_sha256": "ab" * 32})
    run(prompts=("girl",), loras=(other,))
    assert f"note: LoRA {other} was trained on the base abababababababab, this base is" in capsys.readouterr().out


def test_a_grid_shows_every_value_with_its_label(run: Run, photo: Path) -> None:
    asked = {"source": photo, "prompts": ("girl",), "steps": "4"}
    files = run(**asked, xyz=("strength=0.5,1", "scheduler=Euler a,own,UniPC", "scale=0,1"))
    images, grids = files[:-2], files[-2:]
    assert len({pixels(file).tobytes() for file in images}) == len(images) == 12
    assert [file.name for file in grids] == ["grid-00001.png", "grid-00002.png"]
    width, height = Image.open(grids[0]).size
    assert width > 3 * 96, "source, two strengths"
    assert height > 3 * 96, "three schedulers"


def test_prompts_seeds_and_checkpoints_are_axes_too(run: Run) -> None:
    files = run(xyz=("prompt=girl, red hair|boy", f"checkpoint={LORA},data/train/myStyle_face.safetensors"))
    assert len(files) == 5
    assert text(files[1]).startswith("boy <lora:")


def test_a_folder_of_sources_gives_an_image_for_each(run: Run, photo: Path) -> None:
    people = Path("people")
    people.mkdir()
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(people / "clear.png")
    Image.new("RGB", (64, 64), "white").save(people / "white.webp", lossless=True)
    shutil.copyfile(photo, people / "b.jpg")
    (people / ".hidden.png").write_bytes(b"x")
    (people / "notes.txt").write_text("x")
    b, clear, white = run(source=people, prompts=("girl",), strength="0.5", steps="4")
    assert (pixels(clear) == pixels(white)).all(), "what is transparent is white"
    assert (pixels(b) != pixels(white)).any()


def test_damaged_images_of_a_folder_are_named_and_left_out(
    run: Run, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = Path("people")
    people.mkdir()
    shutil.copyfile(photo, people / "good.jpg")
    (people / "cut.jpg").write_bytes(photo.read_bytes()[:300])
    Image.new("RGB", (20, 20)).save(people / "small.png")
    (file,) = run(source=people, prompts=("x",), strength="0.5", steps="4", crop="0,0,60")
    assert file.name == "00001-101.png"
    notes = capsys.readouterr().out
    assert "note: --source people/cut.jpg cannot be read as an image: damaged" in notes
    assert "note: --crop 0,0,60: people/small.png has 20x20 pixels" in notes


def test_a_photo_that_lies_on_its_side_is_put_upright(run: Run, photo: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = read_rgb(photo)
    upright.transpose(Image.Transpose.ROTATE_90).save("side.png", exif=exif)
    upright.save("up.png")
    one, other = (
        run(source=Path(name), prompts=("x",), strength="0.5", steps="4")[0] for name in ("side.png", "up.png")
    )
    assert (pixels(one) == pixels(other)).all()


def test_two_loras_and_a_weight_of_0(run: Run, lora_file: Path) -> None:
    other = str(shutil.copyfile(lora_file, "other.safetensors"))
    images = [
        pixels(run(prompts=("girl",), **options)[0])
        for options in (
            {"loras": (f"{LORA}:0.5", f"{other}:0.5")},
            {"loras": (LORA,)},
            {"loras": (f"{LORA}:0",)},
            {"no_lora": True},
        )
    ]
    assert abs(images[0] - images[1]).max() <= 1, "two halves of one LoRA are the whole"
    assert (images[2] == images[3]).all()
    assert (images[1] != images[3]).any()


@pytest.mark.parametrize("with_source", [True, False])
def test_a_controlnet_follows_an_image(run: Run, photo: Path, controlnet: Path, with_source: bool) -> None:
    shape = {"source": photo, "strength": "1"} if with_source else {}
    asked = {"prompts": ("girl",), "controlnet": str(controlnet), "control_image": photo, **shape}
    (on,), (off,) = run(**asked), run(**asked, control_scale="0")
    assert (pixels(on) != pixels(off)).any()
    assert "ControlNet 0" in text(on)


@pytest.mark.parametrize("out", ["data/train", "data/evaluate/x", ".cache/x", "photo.jpg/x"])
@pytest.mark.usefixtures("photo")
def test_a_stage_s_folder_is_no_place_for_images(run: Run, out: str) -> None:
    with pytest.raises(OutputError, match="--out"):
        run(out=Path(out))
