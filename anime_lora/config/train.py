"""The `train` section."""

from typing import Literal

from pydantic import Field

from anime_lora.config.section import Section


class Train(Section):
    """How the LoRA is trained; what each value does stands beside it in `params.yaml`."""

    seed: int = Field(ge=0, le=2**63 - 1)

    rank: int = Field(ge=1, le=512)
    alpha: float = Field(gt=0)
    target: Literal["attn", "attn+ff", "all-linear+conv"]
    rslora: bool
    dora: bool
    dropout: float = Field(ge=0, lt=1)
    text_encoder_learning_rate: float | None = Field(gt=0, le=1)

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    schedule: Literal["constant", "linear", "cosine"]
    warmup_steps: int = Field(ge=0)
    optimizer: Literal["adamw", "adamw8bit", "prodigy", "adafactor"]
    weight_decay: float = Field(ge=0, lt=1)
    max_grad_norm: float = Field(gt=0)
    ema_decay: float | None = Field(gt=0, lt=1)

    prediction_type: Literal["base", "epsilon", "v_prediction"]
    min_snr_gamma: float | None = Field(gt=0)
    noise_offset: float = Field(ge=0, le=1)
    caption_dropout: float = Field(ge=0, le=1)
    shuffle_tags: bool
    keep_tags: int = Field(ge=0)
    flip: bool
    prior_images: int = Field(ge=0)
    prior_weight: float = Field(ge=0)
    prior_share: float = Field(gt=0, le=1)
    prior_prompt: str | None = Field(min_length=1)

    precision: Literal["fp32", "bf16", "fp16"]
    attention: Literal["sdpa", "xformers"]
    gradient_checkpointing: bool
    compile: bool
    max_bad_steps: int = Field(ge=1)
    checkpoint_every: int = Field(ge=1)
    keep_checkpoints: int = Field(ge=1)

    heldout_images: int = Field(ge=0)
    patience: int | None = Field(ge=1)
    keep_epochs: bool
    validation_prompt: str = Field(min_length=1)
    validation_images: int = Field(ge=1, le=16)
    validation_steps: int = Field(ge=1, le=200)
    validation_guidance: float = Field(ge=1)
