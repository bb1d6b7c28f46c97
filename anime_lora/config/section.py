"""What every section of params.yaml shares, and the sections that no stage or several stages read.

Sections are frozen, take no unknown keys, and turn no text into a number.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """One section of `params.yaml`. No defaults in code: every value stands in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


NONE = "data/none"
"""The file that `params.yaml` names where a stage is to read nothing: DVC cannot depend on null."""
OptionalPath = Annotated[str | None, BeforeValidator(lambda value: None if value == NONE else value)]
"""A path, or None for `NONE`."""

NAME = r"^[^\s/\\]+$"
"""One word that can stand in the name of a file or folder."""


PROMPT_SIGNS = ":<>,()[]{}|"
"""What means something else in a webui's prompt: `<lora:NAME:1>`, the end of a tag, emphasis, alternatives."""
FILE_SIGNS = '"*?'
"""What no file of Windows may be called."""
PLAIN = "use letters, digits, - and _"
LONGEST_NAME = 200
"""Bytes of trigger and class together: with a suffix and the name of a file in work they stay below 255."""


class Concept(Section):
    """What the LoRA is called in a prompt."""

    trigger: str = Field(min_length=1, pattern=NAME)
    class_name: str = Field(min_length=1, pattern=NAME)
    instance_prompt: str = Field(min_length=1)

    @field_validator("trigger", "class_name")
    @classmethod
    def _one_word_in_prompts_and_files(cls, word: str) -> str:
        signs = " ".join(sorted(set(word) & set(PROMPT_SIGNS)))
        if signs:
            raise ValueError(f"a prompt such as <lora:{word}:1> reads {signs} as something else; {PLAIN}")
        odd = sorted(sign for sign in set(word) if sign in FILE_SIGNS or not sign.isprintable())
        if odd:
            raise ValueError(f"no file may be called so ({' '.join(map(repr, odd))}); {PLAIN}")
        return word

    @model_validator(mode="after")
    def _names_a_file(self) -> Self:
        length = len(f"{self.trigger}_{self.class_name}".encode())
        if length > LONGEST_NAME:
            limit = f"take {length} bytes, more than {LONGEST_NAME}"
            raise ValueError(f"trigger and class_name, which name the LoRA's file, {limit}; shorten one of them")
        return self


class Base(Section):
    """The Stable Diffusion the LoRA is trained on: a diffusers folder, a hub id or a `.safetensors` file."""

    model: str = Field(min_length=1)
    revision: str | None
    """Hub commit, or the first 12 hex digits of a local folder's weights hash; None: whatever is there."""
    resolution: int = Field(ge=64, le=2048, multiple_of=8)
    """Native width and height in pixels: training and sampling happen at this size."""


class Compute(Section):
    """How this machine does the work; never a DVC parameter, so it never makes a stage rerun."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    workers: int = Field(ge=0)
    """Processes for per-image work; 0: one per CPU core."""
    dask_address: str | None
    """Scheduler of a Dask cluster for per-image work instead of local processes."""
    processes: int = Field(ge=1)
    """Training processes (`accelerate launch`)."""


class Retrain(Section):
    """When new images are trained on; never a DVC parameter, so it never makes a stage rerun."""

    min_new_images: int = Field(ge=1)
    max_age_days: float | None = Field(gt=0)
    """Days since the last retraining after which fewer images are enough; None: they wait for more."""
    min_free_disk_gb: float = Field(ge=0)
