"""Shots become pictures: batched, one CPU generator each, remembered between runs."""

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from anime_lora.errors import SamplingError
from anime_lora.files import sha256_file, write_bytes
from anime_lora.sampling.controlnet import edges
from anime_lora.sampling.pipelines import SECOND, STYLE, Artist
from anime_lora.sampling.suite import Shot

DRAWING = 1
"""Raised when the same inputs give other pixels: everything remembered is drawn anew."""
LABELS = ("gallery", "arm", "cluster", "ordinal", "style", "trigger")
"""Fields of a shot that change nothing in the picture."""


def generator(seed: int) -> torch.Generator:
    """The noise of one picture: on the CPU and its own, so that batch, order and device do not matter."""
    return torch.Generator("cpu").manual_seed(seed)


def weights(shot: Shot) -> dict[str, float]:
    """The adapters' weights a shot asks for."""
    second = {SECOND: 1.0} if shot.gallery == "combining" and shot.arm in {"second", "both"} else {}
    return {name: weight for name, weight in {STYLE: shot.lora_scale, **second}.items() if weight}


def controlled(shot: Shot) -> bool:
    """Whether a shot is drawn with the ControlNet."""
    return shot.gallery == "strength" and shot.arm == "control"


def picture_key(shot: Shot, artist: Artist, source_sha: str | None) -> str:
    """Hex sha256 of everything that decides the picture; the LoRA's hash counts only where it is used."""
    inputs = {key: value for key, value in asdict(shot).items() if key not in LABELS}
    adapters = sorted((artist.adapters[name], weight) for name, weight in weights(shot).items())
    content = {"drawing": DRAWING, **artist.identity, **inputs, "source": source_sha, "adapters": adapters}
    del content["lora_scale"]
    if controlled(shot):
        content["control"] = artist.control_mark
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def draw(
    shots: list[Shot],
    artist: Artist,
    memo: Path,
    *,
    sources: Path | None,
    batch_size: int,
    told: Callable[[int], object],
) -> dict[Shot, Path]:
    """The remembered PNG of each shot, drawn now where there is none.

    Args:
        shots: what to draw; two shots that differ only in labels are one picture.
        artist: base with its adapters loaded.
        memo: folder of pictures named by `picture_key`.
        sources: folder of the img2img sources.
        batch_size: pictures at once.
        told: called with the number of shots done, as they get done.

    Raises:
        SamplingError: a source cannot be read.
    """
    hashes = {name: sha256_file(Path(sources or ".") / name) for name in {s.source for s in shots if s.source}}
    files = {shot: _memo_file(memo, picture_key(shot, artist, hashes.get(shot.source or ""))) for shot in shots}
    missing = {file: shot for shot, file in files.items() if not file.exists()}
    waiting = defaultdict(int, dict.fromkeys(missing, 0))
    for file in files.values():
        waiting[file] += 1
    told(sum(1 for file in files.values() if file not in missing))
    for batch in _batches(list(missing.values()), batch_size):
        artist.weigh(weights(batch[0]))
        for shot, image in zip(batch, paint(batch, artist, sources), strict=True):
            write_bytes(files[shot], _png(image, parameters(shot, artist)))
            told(waiting[files[shot]])
    artist.weigh({})
    return files


def _memo_file(memo: Path, key: str) -> Path:
    return memo / key[:2] / f"{key}.png"


def _batches(shots: list[Shot], size: int) -> Iterator[list[Shot]]:
    """Shots that one pipeline call can draw together: same adapters, strength, guidance and steps."""
    alike: dict[Any, list[Shot]] = defaultdict(list)
    for shot in shots:
        kind = (tuple(weights(shot).items()), shot.strength, shot.guidance, shot.steps, controlled(shot))
        alike[kind].append(shot)
    for group in sorted(alike, key=str):
        for start in range(0, len(alike[group]), size):
            yield alike[group][start : start + size]


@torch.inference_mode()
def paint(batch: list[Shot], artist: Artist, sources: Path | None) -> list[Image.Image]:
    """Draw shots of one kind in one call of the pipeline."""
    first = batch[0]
    common = {
        "prompt": [shot.prompt for shot in batch],
        "negative_prompt": [shot.negative_prompt for shot in batch],
        "generator": [generator(shot.seed) for shot in batch],
        "num_inference_steps": first.steps,
        "guidance_scale": first.guidance,
    }
    if first.strength is None:
        drawn = artist.text(**common, height=artist.size, width=artist.size)
    else:
        pictures = [read_source(Path(sources or ".") / str(shot.source), artist.size) for shot in batch]
        seen = {"control_image": [edges(one) for one in pictures]} if controlled(first) else {}
        pipe = artist.control if seen else artist.image
        drawn = pipe(**common, **seen, image=pictures, strength=first.strength)
    return list(drawn.images)


def read_source(file: Path, size: int) -> Image.Image:
    """A picture as the pipeline sees it: RGB, centre square, `size` pixels."""
    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError) as error:
        raise SamplingError(f"source {file} cannot be read as a picture: mend or remove it") from error
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def parameters(shot: Shot, artist: Artist) -> str:
    """A1111's `parameters` text, from which a web UI sets up the same picture."""
    loras = "".join(f" <lora:{artist.labels[name]}:{weight:g}>" for name, weight in weights(shot).items())
    lines = [shot.prompt + loras]
    if shot.negative_prompt:
        lines.append(f"Negative prompt: {shot.negative_prompt}")
    facts = {
        "Steps": shot.steps,
        "Sampler": artist.sampler,
        "CFG scale": f"{shot.guidance:g}",
        "Seed": shot.seed,
        "Size": f"{artist.size}x{artist.size}",
        "Model hash": artist.identity["base"],
        "Model": artist.model,
        "RNG": "CPU",
    }
    if shot.strength is not None:
        facts["Denoising strength"] = f"{shot.strength:g}"
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in facts.items())])


def _png(image: Image.Image, text: str) -> bytes:
    info = PngInfo()
    info.add_text("parameters", text)
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=info)
    return stream.getvalue()
