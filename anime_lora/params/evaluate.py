"""The `evaluate` section."""

from pydantic import Field

from anime_lora.params.section import Section


class Evaluate(Section):
    """How pictures become numbers."""

    encoders: tuple[str, ...]
    bootstrap: int = Field(ge=100)
