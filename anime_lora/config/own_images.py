"""params.yaml for images of one's own: sources, trigger, and prompts in which the trigger stands once."""

import json
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from anime_lora.config import paths
from anime_lora.config.load import PROMPTS, Params, check_params, parse_document
from anime_lora.config.path_settings import Document
from anime_lora.config.presets import FOLDER, Change, with_preset, with_values
from anime_lora.config.section import NONE


def with_own_images(
    text: str, folder: Path | str, trigger: str, class_name: str | None = None, preset: str | None = None
) -> tuple[str, list[Change]]:
    """The text of params.yaml for the images in `folder`, called by `trigger`, and what changed.

    A preset's values come first. Prompts that spell out the old words name them in braces from now on. The true answers
    of the sample images are no answers in another style, so none are named.

    Raises:
        ParamsError: no such preset, or a key that the text lacks.
    """
    name, changes = paths.PARAMS.name, list[Change]()
    if preset is not None:
        text, changes = with_preset(text, preset, name, FOLDER)
    document = parse_document(text, name)
    sources = {
        "concept.trigger": yaml_scalar(trigger),
        **({"concept.class_name": yaml_scalar(class_name)} if class_name is not None else {}),
        **dict(_prompts(document)),
        "ingest.sources": f"[{yaml_scalar(source_name(folder))}]",
        "validate_sample.counterparts": NONE,
    }
    text, own = with_values(text, sources, name, "new")
    return text, [*changes, *own]


def _prompts(document: Document) -> Iterator[tuple[str, str]]:
    """Each prompt that spells out the words of the concept, with them in braces instead."""
    words = document.get("concept")
    for section, name in PROMPTS:
        values = document.get(section)
        prompt = values.get(name) if isinstance(values, dict) else None
        if not isinstance(prompt, str) or not isinstance(words, dict):
            continue
        template = prompt
        for word in ("trigger", "class_name"):
            if isinstance(value := words.get(word), str) and value:
                template = template.replace(value, f"{{{word}}}")
        if template != prompt:
            yield f"{section}.{name}", json.dumps(template, ensure_ascii=False)


def source_name(folder: Path | str) -> str:
    """How `ingest.sources` names a folder or an archive, relative where it lies in the project; a URL stays."""
    if "://" in str(folder):
        return str(folder)
    folder = Path(folder).expanduser()
    absolute, here = folder.resolve(), Path.cwd().resolve()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else absolute.as_posix()


def yaml_scalar(value: str) -> str:
    """A text as YAML writes it in a list: in quotes where it would read as something else."""
    try:
        plain = YAML(typ="safe", pure=True).load(f"[{value}]") == [value]
    except YAMLError:
        plain = False
    return value if plain and value == value.strip() else json.dumps(value, ensure_ascii=False)


def own_params(text: str) -> Params:
    """The settings of a text that `with_own_images` gave.

    Raises:
        ParamsError: one line per value that does not fit.
    """
    return check_params(parse_document(text, paths.PARAMS.name))
