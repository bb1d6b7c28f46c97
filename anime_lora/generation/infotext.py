"""A1111's `parameters` text: written for a job, and read from images of ours and of webuis."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import anime_lora
from anime_lora.generation.job import Job
from anime_lora.generation.sources import CENTER
from anime_lora.images import quote_value

SETTING = re.compile(r'\s*(\w[\w \-/+]*):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
NEGATIVE = "Negative prompt:"


@dataclass(frozen=True)
class Model:
    """What an image says of the base it was made with."""

    name: str
    sha256: str
    sampler: str
    """The base's own, by a webui's name."""


@dataclass(frozen=True)
class Infotext:
    """What an image says about how it was made."""

    prompt: str
    """With its tags."""
    negative_prompt: str
    settings: Mapping[str, str]
    """By A1111's names: `Steps`, `Sampler`, `CFG scale`, …"""


def write(job: Job, model: Model, source_sha256: str | None = None) -> str:
    """The text for one image.

    Args:
        job: the image.
        model: what the base is called.
        source_sha256: of the source's bytes, where there is one.
    """
    sampler, _, spacing = _split_spacing(job.scheduler or model.sampler)
    settings: dict[str, str | float] = {"Steps": job.steps, "Sampler": sampler}
    if spacing:
        settings["Schedule type"] = spacing
    settings |= {
        "CFG scale": f"{job.guidance:g}",
        "Seed": job.seed,
        "Size": f"{job.width}x{job.height}",
        "Model hash": model.sha256,
        "Model": model.name,
    }
    if job.strength is not None:
        settings["Denoising strength"] = f"{job.strength:g}"
    if job.clip_skip > 1:
        settings["Clip skip"] = job.clip_skip
    settings["RNG"] = "CPU"  # web UIs sample the noise on the GPU otherwise: another image
    if job.control:
        settings["ControlNet 0"] = f"Module: canny, Model: {job.control.controlnet}, Weight: {job.control.scale:g}"
    if job.loras:
        settings["Lora hashes"] = ", ".join(f"{one.lora.name}: {one.lora.sha256[:12]}" for one in job.loras)
    if job.source is not None:
        settings |= {"Source": job.source.name, "Source hash": (source_sha256 or "")[:12]}
        if job.crop != CENTER:
            settings["Source crop"] = job.crop
    settings["Version"] = f"anime-lora {anime_lora.__version__}"
    lines = [job.tagged_prompt]
    if job.negative_prompt:
        lines.append(f"{NEGATIVE} {job.negative_prompt}")
    return "\n".join([*lines, ", ".join(f"{name}: {quote_value(str(value))}" for name, value in settings.items())])


def _split_spacing(scheduler: str) -> tuple[str, str, str]:
    name, space, last = scheduler.rpartition(" ")
    return (name, space, last) if last in {"Karras", "Exponential"} else (scheduler, "", "")


def read(text: str) -> Infotext:
    """What a `parameters` text says; without a line of settings all of it is the prompt."""
    lines = text.strip().split("\n")
    settings: dict[str, str] = {}
    if len(matches := SETTING.findall(lines[-1])) >= 3:
        settings = {name.strip(): _unquoted(value.strip()) for name, value in matches}
        lines.pop()
    prompt: list[str] = []
    negative: list[str] = []
    part = prompt
    for line in lines:
        if line.strip().startswith(NEGATIVE):
            part, line = negative, line.strip().removeprefix(NEGATIVE)  # noqa: PLW2901  the rest of that line
        part.append(line.strip())
    return Infotext("\n".join(prompt), "\n".join(negative), settings)


def lora_hashes(info: Infotext) -> dict[str, str]:
    """The hash of each LoRA by its name in the prompt, as far as they are there."""
    pairs = (part.rpartition(":") for part in info.settings.get("Lora hashes", "").split(","))
    return {name.strip(): sha256.strip() for name, _, sha256 in pairs if name}


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
