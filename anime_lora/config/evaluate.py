"""The `evaluate` section."""

from typing import Annotated

from pydantic import Field

from anime_lora.config.section import OptionalPath, Section

Text = Annotated[str, Field(min_length=1)]


class Evaluate(Section):
    """How images become numbers, and which numbers count as shown."""

    encoders: tuple[Text, ...]
    bootstrap: int = Field(ge=100, le=1_000_000)
    seed: int = Field(ge=0)
    attributes: dict[str, dict[str, Text]]
    domains: dict[str, Text]
    style_domain: Text
    max_memorisation: float = Field(ge=0.5, le=1)
    max_drift: float = Field(gt=0, le=1)
    min_diversity: float = Field(ge=0, le=1)
    min_sharpness: float = Field(ge=0, le=1)
    champion: OptionalPath
