"""The `train` section."""

from typing import Literal

from pydantic import Field

from anime_lora.params.section import Section


class Train(Section):
    """How the LoRA is trained."""

    seed: int = Field(ge=0)
    rank: int = Field(ge=1, le=512)
    alpha: float = Field(gt=0)
    target: Literal["attn", "attn+ff", "all-linear+conv"]
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    optimizer: Literal["adamw", "adamw8bit", "prodigy", "adafactor"]
    checkpoint_every: int = Field(ge=1)
    validation_prompt: str = Field(min_length=1)
