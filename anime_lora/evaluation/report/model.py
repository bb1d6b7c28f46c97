"""The report as one value: numbers and sentences, no markup. `report.json` holds it, `page.py` renders it.

All paths are relative to the folder the report lies in. Intervals are at 95 %, `n` counts the clusters an interval
resamples (prompts or sources). Texts are plain; each `id` is unique within its list and fits an HTML anchor.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from anime_lora.evaluation.claims import Claim
from anime_lora.evaluation.encoders import Skipped
from anime_lora.files import write_json

Interval = tuple[float, float]


@dataclass(frozen=True)
class Headline:
    """What a person should take away: at most 60 characters, then 1 to 4 sentences; `level` is the colour."""

    level: Literal["good", "mixed", "bad"]
    headline: str
    sentences: list[str]


@dataclass(frozen=True)
class Card:
    """A key number."""

    id: str
    label: str
    value: float
    text: str
    interval: Interval | None
    n: int
    hint: str


@dataclass(frozen=True)
class PageImage:
    """A contact sheet: its full size, and a preview of at most 300 KB that the page embeds instead, where there is one.

    `width` and `height` are the full size's, in pixels.
    """

    file: str
    preview: str | None
    label: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Gallery:
    """The sheets of one gallery."""

    id: str
    title: str
    caption: str
    images: list[PageImage]


@dataclass(frozen=True)
class Point:
    """One point of a curve, with its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: list[Point]


@dataclass(frozen=True)
class Mark:
    """A dashed line across a chart at one value of an axis."""

    axis: Literal["x", "y"]
    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Up to five curves over one axis, and the file that holds their numbers."""

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: list[Series]
    marks: list[Mark]
    csv: str


@dataclass(frozen=True)
class Matrix:
    """Asked (rows) against seen (columns) values of one attribute, with accuracy, ceiling and chance."""

    id: str
    title: str
    rows: list[str]
    columns: list[str]
    counts: list[list[int]]
    accuracy: float
    interval: Interval | None
    ceiling: float | None
    chance: float


@dataclass(frozen=True)
class Table:
    """Cells are text as it is to be read."""

    id: str
    title: str
    caption: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class DatasetChange:
    """An image that was added, removed or captioned anew."""

    change: str
    image: str
    before: str
    now: str


@dataclass(frozen=True)
class MeasureDrift:
    """How far a measure's distribution moved (population stability index), and that in a word."""

    measure: str
    psi: float
    text: str


@dataclass(frozen=True)
class Quantiles:
    """Least, middle and greatest value of a measure, as text."""

    measure: str
    text: str


@dataclass(frozen=True)
class Origin:
    """One thing the numbers come from."""

    label: str
    value: str


@dataclass(frozen=True)
class SetAside:
    """Files that are not used: how many by check, their contact sheet, and by path why; `more` are not listed."""

    sentence: str
    image: PageImage | None
    files: list[Origin]
    more: int


@dataclass(frozen=True)
class Cluster:
    """Images that look alike: those in the dataset, and copies that are not, both by path."""

    images: str
    copies: str


@dataclass(frozen=True)
class DatasetSection:
    """The dataset's version against the champion's; `more` counts changes that are not listed."""

    sentence: str
    quantiles: list[Quantiles]
    changes: list[DatasetChange]
    more: int
    drift: list[MeasureDrift]


@dataclass(frozen=True)
class Report:
    """Everything on the page, top to bottom."""

    title: str
    subtitle: str
    verdict: Headline
    hero: PageImage | None
    """Base beside LoRA on the same seeds."""
    key_numbers: list[Card]
    claims: list[Claim]
    galleries: list[Gallery]
    curves: list[Chart]
    confusions: list[Matrix]
    tables: list[Table]
    dataset: DatasetSection
    set_aside: SetAside | None
    """None where nothing was."""
    clusters: list[Cluster]
    """The largest."""
    skipped: list[Skipped]
    notes: list[str]
    lineage: list[Origin]
    version: int = 1

    def write(self, file: Path) -> None:
        """Write report.json."""
        write_json(file, asdict(self))
