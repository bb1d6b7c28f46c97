"""`params.yaml` as a whole: read, checked all at once, every fault named with path, value, limit and fix."""

import difflib
import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from anime_lora.config.data import Ingest, Organize, Resize, Validate
from anime_lora.config.evaluate import Evaluate
from anime_lora.config.places import null_faults, place_faults
from anime_lora.config.retrain import Retrain
from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept, Section
from anime_lora.config.train import Train
from anime_lora.errors import ParamsError


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


def read_document(path: Path) -> dict[str, Any]:
    """The YAML 1.2 document as plain values, unchecked."""
    if not path.is_file():
        raise ParamsError(
            f"{path} not found: run from the project's root (`git checkout {path.name}` brings a lost one back)"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from error
    return parsed(text, str(path))


def parsed(text: str, name: str) -> dict[str, Any]:
    """A YAML 1.2 text of sections as plain values; `name` is what an error calls it."""
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ParamsError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ParamsError(f"{name} holds no sections: expected a mapping such as `train:` with its keys below")
    return document


def check_params(document: dict[str, Any], name: str = "params.yaml") -> Params:
    """Turn plain values into `Params`.

    Raises:
        ParamsError: with one line per fault.
    """
    params, lines = None, []
    try:
        params = Params.model_validate_json(json.dumps(document))
    except ValidationError as error:
        lines = [_fault(dict(fault)) for fault in error.errors()]
    lines += [*null_faults(document), *place_faults(document)]
    if params is None or lines:
        plural = "value does" if len(lines) == 1 else "values do"
        raise ParamsError(f"{name}: {len(lines)} {plural} not fit\n" + "\n".join(f"  {line}" for line in lines))
    return params


def _fault(fault: dict[str, Any]) -> str:
    """One fault as `path = value: limit; what to do`."""
    location = [str(part) for part in fault["loc"]]
    path = ".".join(location)
    if fault["type"] == "missing":
        return f"{path} is missing: add it (`git diff params.yaml` shows what was there)"
    if fault["type"] == "extra_forbidden":
        return f"{path} = {fault['input']!r} is unknown{_suggestion(location)}"
    return f"{path} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}; change it in params.yaml"


def _suggestion(location: list[str]) -> str:
    known: list[str] = _keys(Params)
    if len(location) > 1:
        section = next((f for n, f in Params.model_fields.items() if (f.alias or n) == location[0]), None)
        model = section.annotation if section else None
        known = _keys(model) if isinstance(model, type) and issubclass(model, Section) else []
    close = difflib.get_close_matches(location[-1], known, n=1)
    return f": did you mean `{close[0]}`?" if close else f": remove it (known here: {', '.join(known)})"


def _keys(model: type[Section]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
