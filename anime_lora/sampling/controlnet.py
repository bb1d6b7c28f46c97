"""ControlNet: image to image that also follows the source's edges."""

from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetImg2ImgPipeline
from huggingface_hub import snapshot_download
from PIL import Image
from scipy import ndimage

from anime_lora.errors import SamplingError
from anime_lora.files import sha256_file
from anime_lora.sampling.pipelines import Pipelines

LOW, HIGH = 100, 200
"""Canny's thresholds, those that `lllyasviel/sd-controlnet-canny` was trained with."""
TURNS = ((0, 1), (1, 1), (1, 0), (1, -1))
"""Steps (rows, columns) along a gradient of 0, 45, 90 and 135 degrees."""
WEIGHTS = "diffusion_pytorch_model*.safetensors"


def add_controlnet(pipelines: Pipelines, name: str) -> None:
    """Give `pipelines` the ControlNet in a folder or hub id: `pipelines.control` generates with it, LoRAs included.

    Raises:
        SamplingError: it is missing or damaged, or belongs to another base.
    """
    cure = "name a diffusers ControlNet folder or hub id for this base, or null"
    try:
        folder = (
            Path(name) if Path(name).is_dir() else Path(snapshot_download(name, allow_patterns=["*.json", WEIGHTS]))
        )
        net = ControlNetModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise SamplingError(f"validate_sample.controlnet = {name} cannot be loaded ({said}): {cure}") from error
    ours, theirs = pipelines.text.unet.config, net.config
    wanted = {key: ours[key] for key in ("in_channels", "cross_attention_dim", "block_out_channels")}
    other = {key: theirs[key] for key in wanted if list(np.ravel(theirs[key])) != list(np.ravel(wanted[key]))}
    if other:
        raise SamplingError(f"validate_sample.controlnet = {name} has {other}, this base {wanted}: {cure}")
    net = net.to(pipelines.device, pipelines.dtype).eval().requires_grad_(False)
    net.to(memory_format=torch.channels_last)
    parts = {**pipelines.text.components, "controlnet": net}
    pipelines.control = StableDiffusionControlNetImg2ImgPipeline(**parts, requires_safety_checker=False)
    pipelines.control.set_progress_bar_config(disable=True)
    pipelines.control_mark = "".join(sha256_file(file)[:16] for file in sorted(folder.glob(WEIGHTS)))


def edges(image: Image.Image) -> Image.Image:
    """White lines on black where brightness changes (Canny 1986, without blur), as RGB of the same size."""
    grey = np.asarray(image.convert("L"), float)
    across, down = ndimage.sobel(grey, 1), ndimage.sobel(grey, 0)
    steep = np.abs(across) + np.abs(down)
    turn = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4
    crest = np.zeros(grey.shape, bool)
    for number, step in enumerate(TURNS):
        ahead, behind = (np.roll(steep, (sign * step[0], sign * step[1]), (0, 1)) for sign in (-1, 1))
        crest |= (turn == number) & (steep >= ahead) & (steep > behind)
    labels, _ = ndimage.label(crest & (steep > LOW), np.ones((3, 3)))
    sure = np.unique(labels[crest & (steep > HIGH)])
    lines = np.isin(labels, sure[sure > 0])
    return Image.fromarray(np.where(lines, 255, 0).astype(np.uint8)).convert("RGB")
