"""The suite: every image to generate, as plain values, before anything heavy is loaded.

A shot names all that decides its pixels besides the weights. Arms that are compared share prompt and seed, so noise.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Concept
from anime_lora.errors import SamplingError
from anime_lora.files import sha256_file

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
NO_STYLE = "none"
"""Stands for the style in the name of an image without one."""
HASHED = re.compile(r"(^|-)[0-9a-f]{8}$")
"""How a file stem that holds a hash ends."""
LONGEST = 40
"""So many letters of a source's or style's own name stand in a file name."""
CONTROLLED = 0.8
"""The strength at which the ControlNet is tried."""


@dataclass(frozen=True)
class Shot:
    """One image to generate; `cluster` is the prompt or source that intervals resample."""

    gallery: str
    arm: str
    cluster: str
    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    lora_scale: float = 0.0
    trigger: bool = True
    strength: float | None = None
    source: str | None = None
    style: str | None = None
    ordinal: int = 0

    @property
    def name(self) -> str:
        """A file name that says what is seen: gallery, arm, number or source, and what is swept."""
        subject = f"{self.ordinal:02d}" if self.source is None else file_stem(self.source)
        swept = {
            "strength": f"-at{self.strength}",
            "styles": f"-{NO_STYLE if self.style is None else file_stem(f'{self.style}.png')}-cfg{self.guidance:.12g}",
            "guidance": f"-cfg{self.guidance:.12g}",
            "scale": f"-x{self.lora_scale:.12g}",
        }
        tail = swept.get(self.gallery, "")
        return re.sub(r"[^\w.-]+", "_", f"{self.gallery}-{self.arm}-{subject}{tail}-s{self.seed}")


@dataclass(frozen=True)
class Wording:
    """How prompts are put together from the concept's words."""

    trigger: str
    class_name: str

    def prompt(self, text: str, trigger: bool = True) -> str:
        """`<trigger> <class> text`, or the same without the trigger word."""
        return f"{self.trigger} {self.class_name} {text}" if trigger else f"{self.class_name} {text}"


def shots(section: ValidateSample, concept: Concept) -> list[Shot]:
    """Every image of the suite, gallery by gallery."""
    words = Wording(concept.trigger, concept.class_name)
    blank = Shot(
        *("", "", "", "", section.negative_prompt, section.seeds[0]), steps=section.steps, guidance=section.guidance
    )
    from_text = [*_trigger(section, words, blank), *_sweeps(section, words, blank), *_styles(section, words, blank)]
    return [*from_text, *_strength(section, words, blank), *_drift(section, blank), *_second(section, words, blank)]


def _trigger(section: ValidateSample, words: Wording, blank: Shot) -> Iterator[Shot]:
    """LoRA on/off × trigger on/off, paired by prompt and seed."""
    for ordinal, text in enumerate(section.prompts):
        for seed in section.seeds:
            for lora in (False, True):
                for trigger in (False, True):
                    arm = f"{'lora' if lora else 'base'}-{'trigger' if trigger else 'plain'}"
                    shot = replace(blank, gallery="trigger", arm=arm, cluster=text, ordinal=ordinal, trigger=trigger)
                    yield replace(shot, prompt=words.prompt(text, trigger), seed=seed, lora_scale=float(lora))


def _sweeps(section: ValidateSample, words: Wording, blank: Shot) -> Iterator[Shot]:
    """One prompt and seed against guidance, and against the LoRA's scale."""
    for ordinal, text in enumerate(section.prompts[: section.sweep_prompts]):
        shot = replace(blank, arm="lora", cluster=text, prompt=words.prompt(text), ordinal=ordinal, lora_scale=1.0)
        for guidance in section.guidances:
            yield replace(shot, gallery="guidance", guidance=guidance)
        for scale in section.scales:
            yield replace(shot, gallery="scale", lora_scale=scale)


def _styles(section: ValidateSample, words: Wording, blank: Shot) -> Iterator[Shot]:
    """Style words, and none, against guidance."""
    for ordinal, text in enumerate(section.style_prompts if section.styles else ()):
        styles: list[tuple[str | None, str]] = [(None, text)]
        styles += [(style, f"{text}, {word}") for style, word in section.styles.items()]
        for style, wanted in styles:
            prompt = words.prompt(wanted)
            shot = replace(blank, gallery="styles", arm="lora", cluster=text, prompt=prompt, ordinal=ordinal)
            for guidance in section.style_guidances:
                yield replace(shot, style=style, guidance=guidance, lora_scale=1.0)


def _strength(section: ValidateSample, words: Wording, blank: Shot) -> Iterator[Shot]:
    """Each source through img2img, LoRA at every strength, base at some, and with the ControlNet at one."""
    blank = replace(blank, gallery="strength", prompt=words.prompt(section.source_prompt))
    for file in source_files(section.sources):
        for seed in section.seeds[: section.source_seeds]:
            shot = replace(blank, cluster=file.name, source=file.name, seed=seed)
            for strength in section.base_strengths:
                yield replace(shot, arm="base", strength=strength)
            for strength in section.strengths:
                yield replace(shot, arm="lora", strength=strength, lora_scale=1.0)
            if section.controlnet:
                yield replace(shot, arm="control", strength=CONTROLLED, lora_scale=1.0)


def _drift(section: ValidateSample, blank: Shot) -> Iterator[Shot]:
    """Prompts that have nothing to do with the concept, adapter on and off."""
    for ordinal, text in enumerate(section.unrelated_prompts):
        shot = replace(blank, gallery="drift", cluster=text, prompt=text, ordinal=ordinal, trigger=False)
        yield replace(shot, arm="base")
        yield replace(shot, arm="lora", lora_scale=1.0)


def _second(section: ValidateSample, words: Wording, blank: Shot) -> Iterator[Shot]:
    """Two LoRAs alone and together; arms `second` and `both` load the second adapter as well."""
    for ordinal, text in enumerate(section.prompts if section.second_adapter else ()):
        shot = replace(blank, gallery="combining", cluster=text, prompt=words.prompt(text), ordinal=ordinal)
        for arm, scale in {"base": 0.0, "lora": 1.0, "second": 0.0, "both": 1.0}.items():
            yield replace(shot, arm=arm, lora_scale=scale)


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, by name; `._x.png` and other hidden files are none."""
    return sorted(file for file in folder.glob("[!.]*") if file.suffix.lower() in SUFFIXES and file.is_file())


def source_files(folder: str | None) -> list[Path]:
    """The images of `sources`, by name.

    Raises:
        SamplingError: the folder is not there or holds no image.
    """
    if folder is None:
        return []
    found = images_in(Path(folder))
    if not found:
        raise SamplingError(
            f"validate_sample.sources = {folder}: no image ({', '.join(sorted(SUFFIXES))}) there; "
            "name a folder with images, or null to leave img2img out"
        )
    return found


def file_stem(name: str) -> str:
    """What a source, or a style with `.png` behind it, is called in file names: no two alike, whatever the disk.

    A plain name (small Latin letters, digits, hyphens, single spaces, then .png) is kept, with `_` for a space. Any
    other keeps what fits of it, and a hash of the whole name tells it from its like: `x.jpg` is `x-8f3c0b84`.
    `sources.jsonl` says which file came from which source.
    """
    found = re.fullmatch(r"([a-z0-9-]+(?: [a-z0-9-]+)*)\.png", name)
    if found and found[1] != NO_STYLE and not HASHED.search(found[1]):
        return found[1].replace(" ", "_")
    kept = re.sub(r"[^a-z0-9]+", "_", Path(name).stem.lower())[:LONGEST].strip("_")
    return f"{kept}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}".lstrip("-")


def counterpart_of(source: str, sources: Sequence[Path], counterparts: Sequence[Path]) -> Path | None:
    """The true counterpart of a source: the file of the same name, else the only one of the same stem.

    Where two sources share a stem, only the same name counts: a stem would give both of them one counterpart.
    """
    exact = [file for file in counterparts if file.name == source]
    stem = Path(source).stem
    alike = [file for file in counterparts if file.stem == stem]
    alone = sum(file.stem == stem for file in sources) == 1 and len(alike) == 1
    return exact[0] if exact else alike[0] if alone else None


def suite_id(listed: list[Shot], folder: str | None, identity: dict[str, Any]) -> str:
    """Hex sha256 of all that two runs must share to be compared: shots, sources' bytes, base, sampler, size."""
    sources = {file.name: sha256_file(file) for file in source_files(folder)}
    content = {"shots": [asdict(shot) for shot in listed], "sources": sources, "identity": identity}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
