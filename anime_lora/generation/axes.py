"""Grids: the values of up to three settings against each other, `--xyz seed=1,2 --xyz strength=0.5,0.8`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from anime_lora.config.load import Params
from anime_lora.errors import SamplingError
from anime_lora.generation import schedulers, values
from anime_lora.generation.job import Job
from anime_lora.generation.loras import LoraChoice, LoraLibrary, lora_weight

MOST = 3
MANY = 1000
"""So many cells a grid may have."""
TITLE = 110
"""Letters of a prompt above a grid."""
OWN = "own"
"""The value of `scheduler` that stands for the base's own."""
Change = Callable[[Job], Job]


@dataclass(frozen=True)
class Axis:
    """One setting and its values: what stands at a row or column, and how it changes a job."""

    name: str
    labels: tuple[str, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Grid:
    """Jobs in rows and columns."""

    title: str
    columns: list[str]
    rows: list[str]
    cells: list[list[Job]]


def parse(text: str, params: Params, library: LoraLibrary) -> Axis:
    """What `--xyz NAME=VALUE,VALUE` means; values with commas in them are separated by `|`.

    Raises:
        SamplingError: there is no such setting, or a value is none.
    """
    name, equals, rest = text.partition("=")
    name = name.strip().lower()
    readers = _readers(params, library)
    if name not in readers or not equals:
        raise SamplingError(f"--xyz {text}: write NAME=VALUE,VALUE; {values.nearest(name, list(readers))}")
    separator = "|" if "|" in rest or name in {"prompt", "negative"} else ","
    parts = [part.strip() for part in rest.split(separator) if part.strip()]
    if name == "seed":
        parts = [str(seed) for seed in values.seeds(parts)]
    if not parts:
        raise SamplingError(f"--xyz {text}: there is no value; write --xyz {name}=VALUE{separator}VALUE")
    return Axis(name, tuple(parts), tuple(readers[name](part) for part in parts))


def _readers(params: Params, library: LoraLibrary) -> dict[str, Callable[[str], Change]]:
    """How a value's text becomes a change, by the axis's name."""

    def field(name: str, read: Callable[[str], object]) -> Callable[[str], Change]:
        def reader(text: str) -> Change:
            value = read(text)
            return lambda job: replace(job, **{name: value})  # type: ignore[arg-type]

        return reader

    return {
        "prompt": field("prompt", str),
        "negative": field("negative_prompt", str),
        "seed": field("seed", int),
        "steps": field("steps", lambda text: values.whole("--xyz steps", text, 1, 200)),
        "guidance": field("guidance", lambda text: values.number("--xyz guidance", text, 1, 50, "7")),
        "strength": field("strength", values.strength),
        "scheduler": field("scheduler", lambda text: None if text.lower() == OWN else schedulers.canonical(text)),
        "clip-skip": field("clip_skip", lambda text: values.whole("--xyz clip-skip", text, 1, 12)),
        "base": field("base", str),
        "scale": lambda text: _scaled(lora_weight(f"FILE:{text}", text)),
        "checkpoint": lambda text: _with_lora(library.choose(text)),
    }


def _scaled(weight: float) -> Change:
    def change(job: Job) -> Job:
        if not job.loras:
            raise SamplingError("--xyz scale: there is no LoRA whose scale could change; add --lora FILE")
        return replace(job, loras=(replace(job.loras[0], weight=weight, text_weight=None), *job.loras[1:]))

    return change


def _with_lora(choice: LoraChoice) -> Change:
    """Put another file in the place of the first LoRA, at the same weight."""

    def change(job: Job) -> Job:
        weight = job.loras[0].weight if job.loras else choice.weight
        return replace(job, loras=(replace(choice, weight=weight), *job.loras[1:]))

    return change


def grids(job: Job, axes: list[Axis]) -> Iterator[Grid]:
    """One grid for each value of the third axis: the first axis from left to right, the second downwards.

    Raises:
        SamplingError: there are too many axes or cells, two of one setting, or a strength without a source.
    """
    names = [axis.name for axis in axes]
    cells = 1
    for axis in axes:
        cells *= len(axis.labels)
    if len(axes) > MOST or len(set(names)) < len(names) or cells > MANY:
        raise SamplingError(
            f"--xyz {', '.join(names)}: at most {MOST} different settings and {MANY} images in one grid"
        )
    if "strength" in names and job.source is None:
        raise SamplingError("--xyz strength: there is no source; add --source IMAGE")
    nothing = Axis("", ("",), (lambda one: one,))
    first, second, third = (*axes, nothing, nothing)[:MOST]
    for page, turn in zip(third.labels, third.changes, strict=True):
        rows = [[column(row(turn(job))) for column in first.changes] for row in second.changes]
        title = job.prompt if "prompt" not in names else job.base
        title = title if len(title) <= TITLE else f"{title[: TITLE - 1]}…"
        yield Grid(f"{title}, {third.name} {page}" if page else title, _labels(first), _labels(second), rows)


def _labels(axis: Axis) -> list[str]:
    plain = axis.name in {"", "prompt", "scheduler", "checkpoint", "base"}
    return [label if plain else f"{axis.name} {label}" for label in axis.labels]
