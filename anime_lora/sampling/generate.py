"""From shots to PNG files: those of earlier runs are reused, the others are generated in batches, a seed an image."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from anime_lora.files import sha256_file, write_bytes
from anime_lora.images import a1111_parameters, png_bytes
from anime_lora.sampling.controlnet import canny_edges
from anime_lora.sampling.pipelines import Pipelines
from anime_lora.sampling.sources import read_source
from anime_lora.sampling.suite import Shot

VERSION = 2
"""Raised when the same inputs give other pixels: everything in the memo is generated anew."""
LABELS = ("gallery", "arm", "cluster", "ordinal", "style", "trigger")
"""Fields of a shot that change nothing in the image."""


def generate(
    shots: list[Shot],
    pipelines: Pipelines,
    memo: Path,
    *,
    sources: Path | None,
    batch_size: int,
    on_progress: Callable[[int], object],
) -> dict[Shot, Path]:
    """The PNG of each shot in the memo, generated now where it is not there yet.

    Args:
        shots: what to generate; two shots that differ only in labels are one image.
        pipelines: base with its adapters loaded.
        memo: folder of images named by `image_key`.
        sources: folder of the img2img sources.
        batch_size: images at once.
        on_progress: called with the number of shots done, as they get done.

    Raises:
        SamplingError: a source cannot be read.
    """
    hashes = {name: sha256_file(Path(sources or "") / name) for name in {shot.source for shot in shots if shot.source}}
    files = {}
    for shot in shots:
        key = image_key(shot, pipelines, hashes.get(shot.source or ""))
        files[shot] = memo / key[:2] / f"{key}.png"
    missing = {file: shot for shot, file in files.items() if not file.exists()}
    shots_of = Counter(files.values())
    on_progress(sum(file not in missing for file in files.values()))
    for batch in _batches(list(missing.values()), batch_size):
        for shot, image in zip(batch, _generate_batch(batch, pipelines, sources), strict=True):
            write_bytes(files[shot], png_bytes(image, parameters(shot, pipelines)))
            on_progress(shots_of[files[shot]])
    pipelines.set_weights({})
    return files


def image_key(shot: Shot, pipelines: Pipelines, source_sha256: str | None) -> str:
    """Hex sha256 of everything that decides the image; the LoRA's hash counts only where it is used."""
    inputs = {key: value for key, value in asdict(shot).items() if key not in (*LABELS, "lora_scale")}
    adapters = sorted((pipelines.loras[name].sha256, weight) for name, weight in shot.lora_weights.items())
    content = {
        "drawing": VERSION,  # the name is part of every key: under another, all images would be generated anew
        **asdict(pipelines.identity),
        **inputs,
        "source": source_sha256,
        "adapters": adapters,
    }
    if shot.uses_controlnet:
        content["control"] = pipelines.controlnet_identity
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _batches(shots: list[Shot], size: int) -> Iterator[list[Shot]]:
    """Shots that one pipeline call can generate together: same adapters, strength, guidance, steps and ControlNet."""
    groups: dict[Any, list[Shot]] = defaultdict(list)
    for shot in shots:
        kind = (tuple(shot.lora_weights.items()), shot.strength, shot.guidance, shot.steps, shot.uses_controlnet)
        groups[kind].append(shot)
    # sorted, so that neighbours have the same adapter weights and these are switched rarely
    for kind in sorted(groups, key=str):
        for start in range(0, len(groups[kind]), size):
            yield groups[kind][start : start + size]


@torch.inference_mode()
def _generate_batch(batch: list[Shot], pipelines: Pipelines, sources: Path | None) -> list[Image.Image]:
    """Generate shots of one kind, as `_batches` gives them, in one call of the pipeline."""
    first = batch[0]
    pipelines.set_weights(first.lora_weights)
    common: dict[str, Any] = {
        "prompt": [shot.prompt for shot in batch],
        "negative_prompt": [shot.negative_prompt for shot in batch],
        "generator": [noise_generator(shot.seed) for shot in batch],
        "num_inference_steps": first.steps,
        "guidance_scale": first.guidance,
    }
    if first.strength is None:
        return list(pipelines.text_to_image(**common, height=pipelines.size, width=pipelines.size).images)
    common["image"] = [read_source(Path(sources or "") / str(shot.source), pipelines.size) for shot in batch]
    common["strength"] = first.strength
    if first.uses_controlnet:
        assert pipelines.controlnet is not None  # the suite has such shots only where one is set
        common["control_image"] = [canny_edges(image) for image in common["image"]]
        return list(pipelines.controlnet(**common).images)
    return list(pipelines.image_to_image(**common).images)


def noise_generator(seed: int) -> torch.Generator:
    """The noise of one image: on the CPU and its own, so that batch, order and device do not matter."""
    return torch.Generator("cpu").manual_seed(seed)


def parameters(shot: Shot, pipelines: Pipelines) -> str:
    """A1111's `parameters` text, from which a web UI sets up the same image."""
    settings: dict[str, str | float] = {
        "Steps": shot.steps,
        "Sampler": pipelines.sampler,
        "CFG scale": f"{shot.guidance:g}",
        "Seed": shot.seed,
        "Size": f"{pipelines.size}x{pipelines.size}",
        "Model hash": pipelines.identity.base,
        "Model": pipelines.model,
        "RNG": "CPU",  # web UIs sample the noise on the GPU otherwise: another image
    }
    if shot.strength is not None:
        settings["Denoising strength"] = f"{shot.strength:g}"
    loras = {pipelines.loras[name].label: weight for name, weight in shot.lora_weights.items()}
    return a1111_parameters(shot.prompt, settings, negative_prompt=shot.negative_prompt, loras=loras)
