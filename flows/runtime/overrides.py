"""Values of params.yaml for one run, as in `dvc exp run -S`; the file is put back however the run ends."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.load import check_params, parse_document
from anime_lora.config.presets import replace_values, values
from anime_lora.errors import ParamsError
from anime_lora.files import write_bytes, write_json

log = logging.getLogger("prefect.overrides")
BEFORE = paths.CACHE / "retrain" / "override.json"
"""The file as it was and as the override made it; there only while a run holds one, so a killed run's is put back."""


@contextmanager
def override_params(changes: list[str], params: Path = paths.PARAMS, before: Path = BEFORE) -> Iterator[None]:
    """Set `section.key=value` for the block, comments and other lines untouched; `keep_override` makes it last.

    Raises:
        ParamsError: a change is no `key=value`, names no value of the file, or does not fit. Nothing is written then.
    """
    if not changes:
        yield
        return
    text = params.read_bytes().decode()
    result = apply_overrides(text, changes)
    write_json(before, {"before": text, "override": result})
    write_bytes(params, result.encode())
    try:
        yield
    finally:
        restore_params(params, before)


def apply_overrides(text: str, changes: list[str]) -> str:
    """The text of params.yaml with the changes made and checked.

    Raises:
        ParamsError: as for `override_params`.
    """
    overrides, current = dict(_parse(change) for change in changes), values(text)
    unknown = [path for path in overrides if path not in current]
    if unknown:
        raise ParamsError(
            f"override: {', '.join(unknown)} is no value of {paths.PARAMS}: write for example train.rank=8"
        )
    result = replace_values(text, overrides)
    check_params(parse_document(result, paths.PARAMS.name), f"{paths.PARAMS} with {', '.join(changes)}")
    return result


def _parse(change: str) -> tuple[str, str]:
    path, sign, value = change.partition("=")
    if not sign or not path.strip() or not value.strip():
        raise ParamsError(f"override {change!r} is no key=value: write for example train.rank=8")
    return path.strip(), value.strip()


def is_pending(before: Path = BEFORE) -> bool:
    """Whether params.yaml holds an override that was neither kept nor taken back."""
    return before.is_file()


def restore_params(params: Path = paths.PARAMS, before: Path = BEFORE) -> None:
    """Put params.yaml back to what it was before an override that is not kept; what a person wrote since stays."""
    if before.is_file():
        record, now = json.loads(before.read_text(encoding="utf-8")), params.read_bytes()
        if now == record["override"].encode():
            write_bytes(params, record["before"].encode())
        elif now != record["before"].encode():
            log.warning("%s was edited after an override was set in it: it stays as it is, check it", params)
        before.unlink()


def keep_override(before: Path = BEFORE) -> None:
    """Let the override stand."""
    before.unlink(missing_ok=True)
