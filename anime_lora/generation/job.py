"""One image to generate, as plain values."""

from dataclasses import dataclass
from pathlib import Path

from anime_lora.generation.loras import LoraChoice


@dataclass(frozen=True)
class Control:
    """A ControlNet's part in an image."""

    controlnet: str
    """A diffusers folder or hub id."""
    image: Path | None = None
    """Whose edges are followed; None: the source's."""
    scale: float = 1.0


@dataclass(frozen=True)
class Job:
    """Everything that decides one image, beside the machine."""

    base: str
    """As `base.model`."""
    prompt: str
    """In A1111's syntax, without tags."""
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    scheduler: str | None = None
    """A webui's name; None: the base's own."""
    clip_skip: int = 1
    """1: the text encoder's last layer, 2: the one before it."""
    loras: tuple[LoraChoice, ...] = ()
    source: Path | None = None
    """Of image to image; None: text to image."""
    strength: float | None = None
    """Of image to image."""
    crop: str = "center"
    """Which part of the source, as `sources.read_crop` gives it."""
    control: Control | None = None

    @property
    def denoising_steps(self) -> int:
        """How many of the steps are really done: image to image leaves the first ones out."""
        return self.steps if self.strength is None else min(int(self.steps * self.strength), self.steps)

    @property
    def tagged_prompt(self) -> str:
        """The prompt with the LoRAs' tags, from which a webui makes the same image."""
        return " ".join([self.prompt, *(choice.tag for choice in self.loras)]).strip()
