"""What images are made from where the command line says nothing: the settings, or an image that was made before."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import ExifTags, Image

from anime_lora.config.load import Params
from anime_lora.errors import BadImageError, SamplingError
from anime_lora.files import read_jsonl, sha256_file
from anime_lora.generation import comfy, infotext, schedulers, values
from anime_lora.generation.infotext import Infotext
from anime_lora.generation.loras import LoraChoice, LoraLibrary
from anime_lora.generation.output import ROWS
from anime_lora.generation.prompts import LoraTag, lora_tags
from anime_lora.generation.sources import CENTER, read_crop
from anime_lora.images import decode

USER_COMMENT = 0x9286
"""EXIF's tag in which webuis put `parameters` where an image is no PNG."""
READ = {
    *("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "Denoising strength"),
    *("Clip skip", "RNG", "Lora hashes", "Source", "Source hash", "Source crop", "Version", "ControlNet 0"),
}
"""Settings of an image that are used, or say nothing about its pixels."""
PLAIN_SPACINGS = {"", "automatic", "uniform", "normal", "karras", "exponential"}


@dataclass(frozen=True)
class Recipe:
    """Values for every job; those that the command line gives take their place."""

    negative_prompt: str
    seeds: tuple[int, ...]
    steps: int
    guidance: float
    prompts: tuple[str, ...] = ()
    """With tags; empty: the LoRA's trigger with the settings' words."""
    size: tuple[int, int] | None = None
    """None: the base's own."""
    scheduler: str | None = None
    clip_skip: int = 1
    loras: tuple[LoraChoice, ...] | None = None
    """None: the project's."""
    source: Path | None = None
    strength: float = 0.65
    crop: str = CENTER
    from_source: str | None = None
    """Name of the source that an earlier image was made from; None: it was text to image."""
    model_hash: str = ""
    """Of the base that an earlier image was made with."""
    notes: tuple[str, ...] = field(default=())
    """What of an earlier image cannot be met, a sentence each."""


def from_params(params: Params) -> Recipe:
    """The values of `validate_sample` in the settings."""
    section = params.validate_sample
    return Recipe(
        negative_prompt=section.negative_prompt,
        seeds=section.seeds[:1],
        steps=section.steps,
        guidance=section.guidance,
    )


def from_image(file: Path, params: Params, library: LoraLibrary) -> Recipe:
    """What an image says about how it was made; of what it does not say, the settings' values.

    Raises:
        SamplingError: it cannot be read, or says nothing.
    """
    info = read_infotext(file)
    prompt, tags, notes = lora_tags(info.prompt)
    loras, missing = _loras(tags, infotext.lora_hashes(info), library)
    try:
        recipe = replace(from_params(params), **_numbers(info.settings))  # type: ignore[arg-type]
    except ValueError as error:
        raise SamplingError(f"--from {file}: its settings cannot be read ({error}); give them as options") from error
    scheduler, unknown = _scheduler(info.settings)
    return replace(
        recipe,
        prompts=(prompt,),
        negative_prompt=info.negative_prompt,
        scheduler=scheduler,
        loras=loras,
        source=_source(file, info.settings),
        from_source=_source_name(info.settings),
        model_hash=info.settings.get("Model hash", ""),
        notes=(*notes, *missing, *unknown, *_unmet(info.settings)),
    )


def read_infotext(file: Path) -> Infotext:
    """The text in an image of A1111, Forge, ComfyUI or ours.

    Raises:
        SamplingError: it cannot be read, or holds none.
    """
    try:
        image = decode(file.read_bytes())
    except OSError as error:
        raise SamplingError(f"--from {file}: cannot be read ({error.strerror}): name an image file") from error
    except BadImageError as error:
        raise SamplingError(f"--from {file}: {error}: name an image that was generated") from error
    if text := image.info.get("parameters") or _user_comment(image):
        return infotext.read(str(text))
    if workflow := image.info.get("prompt"):
        try:
            return comfy.read(str(workflow))
        except SamplingError as error:
            raise SamplingError(f"--from {file}: {error}") from error
    raise SamplingError(
        f"--from {file}: it says nothing about how it was made (sites and messengers remove that text): "
        "give --prompt, --seed and the rest yourself"
    )


def _user_comment(image: Image.Image) -> str:
    """The comment in a JPEG's or WebP's EXIF: eight letters that name the encoding, then the text."""
    try:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(USER_COMMENT, b"")
    except Exception:  # as in `images.orientation`: whatever a damaged block raises, the pixels are sound
        return ""
    if not isinstance(comment, bytes):
        return str(comment)
    text = comment[8:]
    if comment.startswith(b"UNICODE"):
        return text.decode("utf-16-le" if text[1:2] == b"\0" else "utf-16-be", errors="replace")
    return text.decode(errors="replace")


def _numbers(settings: Mapping[str, str]) -> dict[str, object]:
    """Fields of a recipe from the numbers of an image."""
    readers = {
        "Steps": ("steps", int),
        "CFG scale": ("guidance", float),
        "Clip skip": ("clip_skip", int),
        "Denoising strength": ("strength", float),
    }
    numbers: dict[str, object] = {
        name: read(settings[key]) for key, (name, read) in readers.items() if settings.get(key)
    }
    if "Seed" in settings:
        numbers["seeds"] = (int(settings["Seed"]),)
    if "Source crop" in settings:
        numbers["crop"] = read_crop(settings["Source crop"])
    if "Size" in settings:
        width, _, height = settings["Size"].partition("x")
        numbers["size"] = int(width), int(height)
    return numbers


def _loras(
    tags: list[LoraTag], hashes: Mapping[str, str], library: LoraLibrary
) -> tuple[tuple[LoraChoice, ...], list[str]]:
    """The files that the tags mean, and a sentence for each that is not here or is another one."""
    choices, notes = [], []
    for tag in tags:
        sha256 = hashes.get(tag.name, "")
        lora = library.find(tag.name, sha256)
        if lora is None:
            places = ", ".join(map(str, library.folders))
            notes.append(f"LoRA {tag.name} is not in {places}: made without it (--lora-folder or --lora names it)")
            continue
        if sha256 and not lora.sha256.startswith(sha256.lower()):
            notes.append(
                f"LoRA {lora.file} has other weights ({lora.sha256[:12]}) than the one in the image ({sha256})"
            )
        choices.append(LoraChoice(lora, tag.weight, tag.text_weight))
    return tuple(choices), notes


def _scheduler(settings: Mapping[str, str]) -> tuple[str | None, list[str]]:
    name, spacing = settings.get("Sampler"), settings.get("Schedule type", "")
    notes = []
    if spacing.lower() not in PLAIN_SPACINGS:
        notes.append(f"schedule type {spacing} is not here: the sampler's plain one is used")
    if name is None:
        return None, notes
    try:
        return schedulers.canonical(name, spacing), notes
    except SamplingError:
        likely = values.nearest(name, schedulers.names())
        return None, [*notes, f"sampler {name} is not here, the base's own is used: --scheduler names one; {likely}"]


def _source_name(settings: Mapping[str, str]) -> str | None:
    """What an image to image's source was called; webuis do not say."""
    is_hires = any(name.startswith("Hires") for name in settings)
    return settings.get("Source", "unnamed") if "Denoising strength" in settings and not is_hires else None


def _source(file: Path, settings: Mapping[str, str]) -> Path | None:
    """The source, where images.jsonl beside the image names one that is still the same."""
    rows = file.parent / ROWS
    if not settings.get("Source hash") or not rows.is_file():
        return None
    try:
        named = [Path(row["source"]) for row in read_jsonl(rows) if row.get("file") == file.name and row.get("source")]
    except (OSError, ValueError, AttributeError):
        return None
    return next((one for one in named if one.is_file() and sha256_file(one).startswith(settings["Source hash"])), None)


def _unmet(settings: Mapping[str, str]) -> Iterator[str]:
    """A sentence for everything that makes the image another one here."""
    if not settings.get("Version", "").startswith("anime-lora") and settings.get("RNG", "GPU") != "CPU":
        yield "the image's noise came from a GPU, which gives other numbers for a seed: expect another image"
    for name, value in settings.items():
        if name not in READ:
            yield f"{name}: {value} is not done here"
