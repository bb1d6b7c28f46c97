"""Reading images of other programs."""

from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from anime_lora.config.load import Params
from anime_lora.generation.loras import LoraLibrary
from anime_lora.generation.recipe import from_image, read_infotext
from tests.generation.test_infotext import A1111, WORKFLOW


def save(file: Path, encoding: str, text: str) -> Path:
    """An image with the text in its EXIF, as webuis write JPEG and WebP files."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(encoding)
    Image.new("RGB", (16, 16)).save(file, exif=exif)
    return file


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_the_text_of_a_jpeg_or_webp_is_read(tmp_path: Path, name: str, encoding: str) -> None:
    info = read_infotext(save(tmp_path / name, encoding, A1111))
    assert info.negative_prompt == "lowres, bad\nhands"
    assert info.settings["Sampler"] == "DPM++ 2M"


def test_a_web_ui_s_settings_become_ours(project: Path, params: Params) -> None:
    recipe = from_image(save(project / "a.jpg", "utf-16-be", A1111), params, LoraLibrary([Path("data/train")]))
    assert recipe.prompts == ("masterpiece, 1girl,\n(smile:1.2)",)
    assert (recipe.steps, recipe.guidance, recipe.seeds, recipe.size) == (28, 7.0, (123,), (512, 768))
    assert (recipe.scheduler, recipe.clip_skip, recipe.from_source) == ("DPM++ 2M Karras", 2, None)
    assert recipe.loras == ()
    assert len(recipe.notes) == 2, "the LoRA is not here, the noise came from a GPU"


def test_a_comfyui_image_is_read(project: Path, params: Params) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", WORKFLOW.replace("one.safetensors", "myStyle_face.safetensors"))
    Image.new("RGB", (16, 16)).save("comfy.png", pnginfo=info)
    recipe = from_image(Path("comfy.png"), params, LoraLibrary([Path("data/train")]))
    assert (recipe.prompts, recipe.seeds, recipe.scheduler) == (("a (girl:1.2)",), (5,), "DPM++ 2M Karras")
    (choice,) = recipe.loras or ()
    assert (choice.lora.name, choice.weight, choice.text_weight) == ("myStyle_face", 0.8, 0.5)
    (note,) = recipe.notes
    assert note.startswith("LoRA two is not in data/train")
