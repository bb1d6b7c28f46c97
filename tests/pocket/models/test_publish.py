"""Plain diffusers and transformers load what is published."""

from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer

from pocket.models import shapes
from pocket.models.publish import publish_base, publish_scorer, save_sharded
from pocket.training.diffusion import new_diffusion


def test_plain_pipelines_load_the_base(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    """Diffusers' own pipelines load the folder and generate from an over-long prompt and from an image."""
    publish_base(tmp_path / "base", shapes.autoencoder(), new_diffusion(tokenizer, 0))
    text2img = StableDiffusionPipeline.from_pretrained(tmp_path / "base")
    text2img.set_progress_bar_config(disable=True)
    image = text2img("girl 😀 " + "word " * 300, num_inference_steps=1).images[0]
    assert image.size == (shapes.RESOLUTION, shapes.RESOLUTION)
    img2img = StableDiffusionImg2ImgPipeline(**text2img.components, requires_safety_checker=False)
    img2img.set_progress_bar_config(disable=True)
    assert img2img("", image=image, strength=0.5, num_inference_steps=2).images[0].size == image.size


def test_plain_transformers_load_the_scorer(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    """CLIPModel and CLIPProcessor load the folder and score images of any size against texts."""
    publish_scorer(tmp_path / "clip", shapes.scorer(tokenizer), tokenizer)
    model = CLIPModel.from_pretrained(tmp_path / "clip", dtype=torch.float32)
    processor = CLIPProcessor.from_pretrained(tmp_path / "clip")
    images = [np.zeros((200, 150, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]
    batch = processor(text=["a girl", "", "red hair"], images=images, return_tensors="pt", padding=True)
    with torch.no_grad():
        assert model(**batch).logits_per_image.shape == (2, 3)


def test_no_file_of_the_second_edition_is_too_large_to_bring_home(tmp_path: Path) -> None:
    """Every saved file is at most 15 MB, and diffusers reads the parts as one model."""
    unet = shapes.unet(shapes.SECOND)
    save_sharded(tmp_path / "unet", unet)
    files = list((tmp_path / "unet").glob("*.safetensors"))
    assert len(files) >= 2
    assert max(file.stat().st_size for file in files) <= 15_000_000
    again = type(unet).from_pretrained(tmp_path / "unet", dtype=torch.float32).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in unet.state_dict().items())
