"""The limits of `validate` as a pandera schema, and the images that do not fit it."""

from dataclasses import dataclass

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from anime_lora.config.data import Validate
from anime_lora.data.manifest import QuarantinedFile
from anime_lora.data.quality.measures import Measures


@dataclass(frozen=True)
class Candidate:
    """An image that ingest took, with what was measured of it."""

    id: str
    store: str
    source: str
    path: str
    width: int
    height: int
    caption: str | None
    measures: Measures

    @property
    def short_side(self) -> float:
        """Shorter side in pixels."""
        return float(min(self.width, self.height))


@dataclass(frozen=True)
class Check:
    """A limit of the section, and what is said of an image that passes it."""

    setting: str
    reason: str


CHECKS = {
    "short_side": Check("min_side", "shorter side is {value:g} px, less than validate.min_side = {limit:g}"),
    "aspect": Check(
        "max_aspect", "longer side is {value:g} times the shorter, more than validate.max_aspect = {limit:g}"
    ),
    "contrast": Check("min_contrast", "blank: luma deviates by {value:g}, less than validate.min_contrast = {limit:g}"),
    "sharpness": Check(
        "min_sharpness", "blurred: Laplacian variance {value:g}, less than validate.min_sharpness = {limit:g}"
    ),
}
"""By column of the schema."""


def schema(section: Validate) -> pa.DataFrameSchema:
    """The limits of the section as a pandera schema, one column per check."""
    return pa.DataFrameSchema(
        {
            "short_side": pa.Column(float, pa.Check.ge(section.min_side)),
            "aspect": pa.Column(float, pa.Check.le(section.max_aspect)),
            "contrast": pa.Column(float, pa.Check.ge(section.min_contrast)),
            "sharpness": pa.Column(float, pa.Check.ge(section.min_sharpness)),
        }
    )


def check(candidates: list[Candidate], section: Validate) -> dict[str, QuarantinedFile]:
    """The images that must not be used, by id, each with the first check it failed."""
    failed: dict[str, QuarantinedFile] = {}
    try:
        schema(section).validate(_frame(candidates), lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases.sort_values(["index", "column"])
        for index, column, case in cases[["index", "column", "failure_case"]].itertuples(index=False):
            image, limit = candidates[int(index)], float(getattr(section, CHECKS[column].setting))
            reason = CHECKS[column].reason.format(value=float(case), limit=limit)
            row = QuarantinedFile(image.id, image.source, image.path, column, float(case), limit, reason)
            failed.setdefault(image.id, row)
    first: dict[str, str] = {}
    for image in sorted(candidates, key=lambda image: image.path):
        if image.id in failed:
            continue
        if image.measures.pixels in first:
            reason = f"same pixels as {first[image.measures.pixels]}"
            failed[image.id] = QuarantinedFile(image.id, image.source, image.path, "duplicate", None, None, reason)
        else:
            first[image.measures.pixels] = image.path
    return failed


def _frame(candidates: list[Candidate]) -> pd.DataFrame:
    """The columns of the schema, a row for each image."""
    sides = pd.DataFrame(
        [(image.width, image.height) for image in candidates], columns=["width", "height"], dtype=float
    )
    short_side = sides.min(axis=1)
    return pd.DataFrame(
        {
            "short_side": short_side,
            "aspect": (sides.max(axis=1) / short_side).round(4),
            "contrast": pd.Series([image.measures.contrast for image in candidates], dtype=float),
            "sharpness": pd.Series([image.measures.sharpness for image in candidates], dtype=float),
        }
    )
