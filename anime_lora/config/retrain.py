"""The `retrain` section."""

from pydantic import Field

from anime_lora.config.section import Section


class Retrain(Section):
    """When new images are trained on; never a DVC parameter, so it never makes a stage rerun."""

    min_new_images: int = Field(ge=1)
    max_age_days: float | None = Field(gt=0)
    """Days since the last retraining after which fewer images are enough; None: they wait for more."""
    min_free_disk_gb: float = Field(ge=0)
