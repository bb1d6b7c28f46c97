"""The `validate_sample` section."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from anime_lora.config.section import OptionalPath, Section

Strength = Annotated[float, Field(gt=0, le=1)]
Guidance = Annotated[float, Field(ge=1, le=50)]
Scale = Annotated[float, Field(ge=0, le=4)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Text = Annotated[str, Field(min_length=1)]


class ValidateSample(Section):
    """Which images are generated with and without the LoRA: the suite that the claims are decided on."""

    seeds: tuple[Seed, ...] = Field(min_length=1)
    steps: int = Field(ge=1, le=200)
    guidance: Guidance
    negative_prompt: str
    batch_size: int = Field(ge=1, le=64)
    prompts: tuple[Text, ...] = Field(min_length=2)
    sweep_prompts: int = Field(ge=2)
    guidances: tuple[Guidance, ...] = Field(min_length=2)
    scales: tuple[Scale, ...] = Field(min_length=2)
    styles: dict[str, Text]
    style_prompts: tuple[Text, ...]
    style_guidances: tuple[Guidance, ...] = Field(min_length=1)
    unrelated_prompts: tuple[Text, ...] = Field(min_length=2)
    sources: OptionalPath
    counterparts: OptionalPath
    source_prompt: Text
    source_seeds: int = Field(ge=1)
    strengths: tuple[Strength, ...] = Field(min_length=2)
    base_strengths: tuple[Strength, ...]
    second_adapter: OptionalPath
    controlnet: str | None

    @field_validator("strengths", "base_strengths")
    @classmethod
    def _one_step_at_least(cls, strengths: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        """Img2img runs `int(steps * strength)` steps."""
        steps = info.data.get("steps", 200)
        if strengths and int(steps * min(strengths)) < 1:
            raise ValueError(f"with steps = {steps}, a strength below {1 / steps:.3g} leaves no denoising step")
        return strengths
