"""The suite: every image to generate, as plain values; imports neither torch nor diffusers.

A shot names all that decides its pixels besides the weights. Arms that are compared share prompt and seed, so noise.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Concept
from anime_lora.files import sha256_file
from anime_lora.sampling.sources import NO_STYLE, file_stem, list_sources

STYLE, SECOND = "style", "second"
"""Adapter names: the LoRA that is validated, and the one it is combined with."""
CONTROLNET_STRENGTH = 0.8
"""The img2img strength at which the ControlNet is tried."""


@dataclass(frozen=True)
class Shot:
    """One image to generate."""

    gallery: str
    """The comparison that it belongs to: trigger, guidance, scale, styles, strength, drift or combining."""
    arm: str
    """Its side in that comparison, such as base or lora."""
    cluster: str
    """The text of the prompt or the source's name: evaluation's confidence intervals resample these."""
    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    lora_scale: float = 0.0
    trigger: bool = True
    strength: float | None = None
    """Of image to image; None: text to image."""
    source: str | None = None
    """File name in `validate_sample.sources`."""
    style: str | None = None
    ordinal: int = 0
    """Number of the prompt in its list."""

    @property
    def name(self) -> str:
        """A file name that says what is shown: gallery, arm, number or source, and what is swept."""
        subject = f"{self.ordinal:02d}" if self.source is None else file_stem(self.source)
        swept = {
            "strength": f"-at{self.strength}",
            "styles": f"-{NO_STYLE if self.style is None else file_stem(f'{self.style}.png')}-cfg{self.guidance:.12g}",
            "guidance": f"-cfg{self.guidance:.12g}",
            "scale": f"-x{self.lora_scale:.12g}",
        }
        tail = swept.get(self.gallery, "")
        return re.sub(r"[^\w.-]+", "_", f"{self.gallery}-{self.arm}-{subject}{tail}-s{self.seed}")

    @property
    def lora_weights(self) -> dict[str, float]:
        """Weight of each adapter that is on, by adapter name."""
        second = float(self.gallery == "combining" and self.arm in {"second", "both"})
        return {name: weight for name, weight in {STYLE: self.lora_scale, SECOND: second}.items() if weight}

    @property
    def uses_controlnet(self) -> bool:
        """Whether the ControlNet takes part, with the source's edges."""
        return self.gallery == "strength" and self.arm == "control"


@dataclass(frozen=True)
class ModelIdentity:
    """What decides an image's pixels besides its shot and the adapters; hashes are 16 hex digits."""

    base: str
    """Hash of the base's weights."""
    configs: str
    """Hash of its configs, scheduler and tokenizer."""
    sampler: str
    """Name of the scheduler and hash of its settings."""
    resolution: int
    dtype: str


def compose_prompt(concept: Concept, text: str, trigger: bool = True) -> str:
    """`<trigger> <class> text`, or the same without the trigger word."""
    return f"{concept.trigger} {concept.class_name} {text}" if trigger else f"{concept.class_name} {text}"


def shots(section: ValidateSample, concept: Concept) -> list[Shot]:
    """Every image of the suite, gallery by gallery."""
    blank = Shot(
        gallery="",
        arm="",
        cluster="",
        prompt="",
        negative_prompt=section.negative_prompt,
        seed=section.seeds[0],
        steps=section.steps,
        guidance=section.guidance,
    )
    return [
        *_trigger(section, concept, blank),
        *_sweeps(section, concept, blank),
        *_styles(section, concept, blank),
        *_strength(section, concept, blank),
        *_drift(section, blank),
        *_combining(section, concept, blank),
    ]


def _trigger(section: ValidateSample, concept: Concept, blank: Shot) -> Iterator[Shot]:
    """LoRA on/off × trigger on/off, paired by prompt and seed."""
    for ordinal, text in enumerate(section.prompts):
        for seed in section.seeds:
            for lora in (False, True):
                for trigger in (False, True):
                    arm = f"{'lora' if lora else 'base'}-{'trigger' if trigger else 'plain'}"
                    shot = replace(blank, gallery="trigger", arm=arm, cluster=text, ordinal=ordinal, trigger=trigger)
                    yield replace(
                        shot, prompt=compose_prompt(concept, text, trigger), seed=seed, lora_scale=float(lora)
                    )


def _sweeps(section: ValidateSample, concept: Concept, blank: Shot) -> Iterator[Shot]:
    """One prompt and seed against guidance, and against the LoRA's scale."""
    for ordinal, text in enumerate(section.prompts[: section.sweep_prompts]):
        shot = replace(
            blank, arm="lora", cluster=text, prompt=compose_prompt(concept, text), ordinal=ordinal, lora_scale=1.0
        )
        for guidance in section.guidances:
            yield replace(shot, gallery="guidance", guidance=guidance)
        for scale in section.scales:
            yield replace(shot, gallery="scale", lora_scale=scale)


def _styles(section: ValidateSample, concept: Concept, blank: Shot) -> Iterator[Shot]:
    """Style words, and none, against guidance."""
    for ordinal, text in enumerate(section.style_prompts if section.styles else ()):
        styles: list[tuple[str | None, str]] = [(None, text)]
        styles += [(style, f"{text}, {word}") for style, word in section.styles.items()]
        for style, styled in styles:
            prompt = compose_prompt(concept, styled)
            shot = replace(blank, gallery="styles", arm="lora", cluster=text, prompt=prompt, ordinal=ordinal)
            for guidance in section.style_guidances:
                yield replace(shot, style=style, guidance=guidance, lora_scale=1.0)


def _strength(section: ValidateSample, concept: Concept, blank: Shot) -> Iterator[Shot]:
    """Each source through img2img, LoRA at every strength, base at some, and with the ControlNet at one."""
    blank = replace(blank, gallery="strength", prompt=compose_prompt(concept, section.source_prompt))
    for file in list_sources(section.sources):
        for seed in section.seeds[: section.source_seeds]:
            shot = replace(blank, cluster=file.name, source=file.name, seed=seed)
            for strength in section.base_strengths:
                yield replace(shot, arm="base", strength=strength)
            for strength in section.strengths:
                yield replace(shot, arm="lora", strength=strength, lora_scale=1.0)
            if section.controlnet:
                yield replace(shot, arm="control", strength=CONTROLNET_STRENGTH, lora_scale=1.0)


def _drift(section: ValidateSample, blank: Shot) -> Iterator[Shot]:
    """Prompts that have nothing to do with the concept, adapter on and off."""
    for ordinal, text in enumerate(section.unrelated_prompts):
        shot = replace(blank, gallery="drift", cluster=text, prompt=text, ordinal=ordinal, trigger=False)
        yield replace(shot, arm="base")
        yield replace(shot, arm="lora", lora_scale=1.0)


def _combining(section: ValidateSample, concept: Concept, blank: Shot) -> Iterator[Shot]:
    """Two LoRAs alone and together; arms `second` and `both` load the second adapter as well."""
    for ordinal, text in enumerate(section.prompts if section.second_adapter else ()):
        shot = replace(blank, gallery="combining", cluster=text, prompt=compose_prompt(concept, text), ordinal=ordinal)
        for arm, scale in {"base": 0.0, "lora": 1.0, "second": 0.0, "both": 1.0}.items():
            yield replace(shot, arm=arm, lora_scale=scale)


def suite_id(suite: list[Shot], sources: str | None, identity: ModelIdentity, controlnet: str | None) -> str:
    """Hex sha256 of all that two runs must share to be compared: shots, sources' bytes, base, sampler, size."""
    control = {"controlnet": controlnet} if controlnet else {}
    content = {
        "shots": [asdict(shot) for shot in suite],
        "sources": {file.name: sha256_file(file) for file in list_sources(sources)},
        "identity": {**asdict(identity), **control},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
