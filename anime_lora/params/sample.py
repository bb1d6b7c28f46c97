"""The `validate_sample` section."""

from pydantic import Field

from anime_lora.params.section import Section


class ValidateSample(Section):
    """Which pictures are drawn with and without the LoRA."""

    seeds: tuple[int, ...] = Field(min_length=1)
    steps: int = Field(ge=1, le=200)
    guidance: float = Field(ge=1)
