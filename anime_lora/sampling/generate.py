"""Shots become images: batched, one CPU generator each, remembered between runs."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from anime_lora.errors import BadImageError, SamplingError
from anime_lora.files import sha256_file, write_bytes
from anime_lora.images import crop_square, png_bytes, read_rgb
from anime_lora.sampling.controlnet import edges
from anime_lora.sampling.pipelines import SECOND, STYLE, Pipelines
from anime_lora.sampling.suite import Shot

VERSION = 2
"""Raised when the same inputs give other pixels: everything remembered is generated anew."""
LABELS = ("gallery", "arm", "cluster", "ordinal", "style", "trigger")
"""Fields of a shot that change nothing in the image."""


def generator(seed: int) -> torch.Generator:
    """The noise of one image: on the CPU and its own, so that batch, order and device do not matter."""
    return torch.Generator("cpu").manual_seed(seed)


def weights(shot: Shot) -> dict[str, float]:
    """The adapters' weights a shot asks for."""
    second = {SECOND: 1.0} if shot.gallery == "combining" and shot.arm in {"second", "both"} else {}
    return {name: weight for name, weight in {STYLE: shot.lora_scale, **second}.items() if weight}


def controlled(shot: Shot) -> bool:
    """Whether a shot is generated with the ControlNet."""
    return shot.gallery == "strength" and shot.arm == "control"


def image_key(shot: Shot, pipelines: Pipelines, source_sha: str | None) -> str:
    """Hex sha256 of everything that decides the image; the LoRA's hash counts only where it is used."""
    inputs = {key: value for key, value in asdict(shot).items() if key not in LABELS}
    adapters = sorted((pipelines.adapters[name], weight) for name, weight in weights(shot).items())
    content = {"drawing": VERSION, **pipelines.identity, **inputs, "source": source_sha, "adapters": adapters}
    del content["lora_scale"]
    if controlled(shot):
        content["control"] = pipelines.control_mark
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def generate(
    shots: list[Shot],
    pipelines: Pipelines,
    memo: Path,
    *,
    sources: Path | None,
    batch_size: int,
    on_progress: Callable[[int], object],
) -> dict[Shot, Path]:
    """The remembered PNG of each shot, generated now where there is none.

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
    hashes = {name: sha256_file(Path(sources or ".") / name) for name in {s.source for s in shots if s.source}}
    files = {shot: _memo_file(memo, image_key(shot, pipelines, hashes.get(shot.source or ""))) for shot in shots}
    missing = {file: shot for shot, file in files.items() if not file.exists()}
    waiting = defaultdict(int, dict.fromkeys(missing, 0))
    for file in files.values():
        waiting[file] += 1
    on_progress(sum(1 for file in files.values() if file not in missing))
    for batch in _batches(list(missing.values()), batch_size):
        pipelines.set_weights(weights(batch[0]))
        for shot, image in zip(batch, generate_batch(batch, pipelines, sources), strict=True):
            write_bytes(files[shot], png_bytes(image, parameters(shot, pipelines)))
            on_progress(waiting[files[shot]])
    pipelines.set_weights({})
    return files


def _memo_file(memo: Path, key: str) -> Path:
    return memo / key[:2] / f"{key}.png"


def _batches(shots: list[Shot], size: int) -> Iterator[list[Shot]]:
    """Shots that one pipeline call can generate together: same adapters, strength, guidance and steps."""
    alike: dict[Any, list[Shot]] = defaultdict(list)
    for shot in shots:
        kind = (tuple(weights(shot).items()), shot.strength, shot.guidance, shot.steps, controlled(shot))
        alike[kind].append(shot)
    for group in sorted(alike, key=str):
        for start in range(0, len(alike[group]), size):
            yield alike[group][start : start + size]


@torch.inference_mode()
def generate_batch(batch: list[Shot], pipelines: Pipelines, sources: Path | None) -> list[Image.Image]:
    """Generate shots of one kind in one call of the pipeline."""
    first = batch[0]
    common = {
        "prompt": [shot.prompt for shot in batch],
        "negative_prompt": [shot.negative_prompt for shot in batch],
        "generator": [generator(shot.seed) for shot in batch],
        "num_inference_steps": first.steps,
        "guidance_scale": first.guidance,
    }
    if first.strength is None:
        output = pipelines.text(**common, height=pipelines.size, width=pipelines.size)
    else:
        images = [read_source(Path(sources or ".") / str(shot.source), pipelines.size) for shot in batch]
        seen = {"control_image": [edges(one) for one in images]} if controlled(first) else {}
        pipe = pipelines.control if seen else pipelines.image
        output = pipe(**common, **seen, image=images, strength=first.strength)
    return list(output.images)


def read_source(file: Path, size: int) -> Image.Image:
    """An image as the pipeline sees it: RGB, centre square, `size` pixels."""
    try:
        return crop_square(read_rgb(file), size)
    except BadImageError as error:
        raise SamplingError(f"source {error}; repair or remove it") from error


def parameters(shot: Shot, pipelines: Pipelines) -> str:
    """A1111's `parameters` text, from which a web UI sets up the same image."""
    loras = "".join(f" <lora:{pipelines.labels[name]}:{weight:g}>" for name, weight in weights(shot).items())
    lines = [shot.prompt + loras]
    if shot.negative_prompt:
        lines.append(f"Negative prompt: {shot.negative_prompt}")
    facts = {
        "Steps": shot.steps,
        "Sampler": pipelines.sampler,
        "CFG scale": f"{shot.guidance:g}",
        "Seed": shot.seed,
        "Size": f"{pipelines.size}x{pipelines.size}",
        "Model hash": pipelines.identity["base"],
        "Model": pipelines.model,
        "RNG": "CPU",
    }
    if shot.strength is not None:
        facts["Denoising strength"] = f"{shot.strength:g}"
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in facts.items())])
