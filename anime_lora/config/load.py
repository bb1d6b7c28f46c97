"""`params.yaml` as a whole: read, checked all at once, every error named with path, value, limit and what to do."""

import difflib
import json
import re
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from anime_lora.config.data import Ingest, Organize, Resize, Validate
from anime_lora.config.evaluate import Evaluate
from anime_lora.config.path_settings import Document, null_errors, path_errors
from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept, Retrain, Section
from anime_lora.config.train import Train
from anime_lora.errors import ParamsError

PROMPTS = (("concept", "instance_prompt"), ("train", "prior_prompt"), ("train", "validation_prompt"))
"""Section and name of the prompts in which the words of `concept` may stand as `{trigger}` and `{class_name}`."""
PROMPT_WORDS = ("trigger", "class_name")


class Params(Section):
    """Every section of `params.yaml`; a stage is handed its own."""

    concept: Concept
    base: Base
    ingest: Ingest
    validate_: Validate = Field(alias="validate")
    resize: Resize
    organize: Organize
    train: Train
    validate_sample: ValidateSample
    evaluate: Evaluate
    retrain: Retrain
    compute: Compute


def load_params(path: Path) -> Params:
    """Read and check `path`.

    Raises:
        ParamsError: the file is missing, not YAML, or holds unknown, missing or wrong values (all are listed).
    """
    return check_params(read_document(path), path.name)


def read_document(path: Path) -> Document:
    """The YAML 1.2 document as plain values, unchecked."""
    if not path.is_file():
        raise ParamsError(
            f"{path} not found: run from the project's root (`git checkout {path.name}` brings a lost one back)"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from error
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Document:
    """A YAML 1.2 text of sections as plain values; `name` is what an error calls it."""
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ParamsError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ParamsError(f"{name} holds no sections: expected a mapping such as `train:` with its keys below")
    return document


def check_params(document: Document, name: str = "params.yaml") -> Params:
    """Turn plain values into `Params`.

    Raises:
        ParamsError: with one line per error.
    """
    params, lines = None, []
    try:
        params = Params.model_validate_json(
            json.dumps(with_prompts(document))
        )  # as JSON, a list is strictly valid for a tuple
    except ValidationError as error:
        lines = [_error_line(one) for one in error.errors()]
    lines += [*null_errors(document), *path_errors(document), *template_errors(document)]
    if params is None or lines:
        plural = "value does" if len(lines) == 1 else "values do"
        raise ParamsError(f"{name}: {len(lines)} {plural} not fit\n" + "\n".join(f"  {line}" for line in lines))
    return params


def with_prompts(document: Document) -> Document:
    """The document with the words of `concept` in its prompts: `{trigger} portrait` becomes `myStyle portrait`."""
    words = document.get("concept")
    known = {word: words.get(word) for word in PROMPT_WORDS} if isinstance(words, dict) else {}
    expanded = dict(document)
    for section, name in PROMPTS:
        values = expanded.get(section)
        if isinstance(values, dict) and isinstance(text := values.get(name), str):
            for word, value in known.items():
                text = text.replace(f"{{{word}}}", value) if isinstance(value, str) else text
            expanded[section] = {**values, name: text}
    return expanded


def template_errors(document: Document) -> list[str]:
    """One line for each prompt with a name in braces that stands for nothing."""
    lines = []
    for section, name in PROMPTS:
        values = document.get(section)
        text = values.get(name) if isinstance(values, dict) else None
        unknown = set(re.findall(r"\{(\w+)\}", text)) - set(PROMPT_WORDS) if isinstance(text, str) else set()
        lines += [
            f"{section}.{name} = {text!r}: {{{word}}} stands for nothing; write {{trigger}} or {{class_name}}"
            for word in sorted(unknown)
        ]
    return lines


def _error_line(error: ErrorDetails) -> str:
    """An error of pydantic as `path = value: limit; what to do`."""
    location = [str(part) for part in error["loc"]]
    path, value = ".".join(location), error["input"]
    if error["type"] == "missing":
        return f"{path} is missing: add it (`git diff params.yaml` shows what was there)"
    if error["type"] == "extra_forbidden":
        return f"{path} = {value!r} is unknown{_suggestion(location)}"
    message = error["msg"].removeprefix("Value error, ")
    value_text = f" = {value!r}" if not isinstance(value, dict) else ""
    return f"{path}{value_text}: {message[0].lower()}{message[1:]}; change it in params.yaml"


def _suggestion(location: list[str]) -> str:
    """The known key that an unknown one resembles, or all of its section."""
    known: list[str] = _keys(Params)
    if len(location) > 1:
        section = next((f for n, f in Params.model_fields.items() if (f.alias or n) == location[0]), None)
        model = section.annotation if section else None
        known = _keys(model) if isinstance(model, type) and issubclass(model, Section) else []
    close = difflib.get_close_matches(location[-1], known, n=1)
    return f": did you mean `{close[0]}`?" if close else f": remove it (known here: {', '.join(known)})"


def _keys(model: type[Section]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
