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
def overridden(changes: list[str], params: Path = paths.PARAMS, before: Path = BEFORE) -> Iterator[None]:
    """Set `section.key=value` for the block, comments and other lines untouched; `keep` makes it last.

    Raises:
        ParamsError: a change is no `key=value`, names no value of the file, or does not fit. Nothing is written then.
    """
    if not changes:
        yield
        return
    text = params.read_bytes().decode()
    result = changed(text, changes)
    write_json(before, {"before": text, "override": result})
    write_bytes(params, result.encode())
    try:
        yield
    finally:
        take_back(params, before)


def changed(text: str, changes: list[str]) -> str:
    """The text of params.yaml with the changes made and checked.

    Raises:
        ParamsError: as for `overridden`.
    """
    wanted, here = dict(_parted(change) for change in changes), values(text)
    homeless = [path for path in wanted if path not in here]
    if homeless:
        raise ParamsError(
            f"override: {', '.join(homeless)} is no value of {paths.PARAMS}: write for example train.rank=8"
        )
    result = replace_values(text, wanted)
    check_params(parse_document(result, paths.PARAMS.name), f"{paths.PARAMS} with {', '.join(changes)}")
    return result


def _parted(change: str) -> tuple[str, str]:
    path, sign, value = change.partition("=")
    if not sign or not path.strip() or not value.strip():
        raise ParamsError(f"override {change!r} is no key=value: write for example train.rank=8")
    return path.strip(), value.strip()


def pending(before: Path = BEFORE) -> bool:
    """Whether an override is set that was neither kept nor taken back."""
    return before.is_file()


def take_back(params: Path = paths.PARAMS, before: Path = BEFORE) -> None:
    """Put params.yaml back to what it was before an override that is not kept; what a person wrote since stays."""
    if before.is_file():
        known, found = json.loads(before.read_text(encoding="utf-8")), params.read_bytes()
        if found == known["override"].encode():
            write_bytes(params, known["before"].encode())
        elif found != known["before"].encode():
            log.warning("%s was edited after an override was set in it: it stays as it is, look it through", params)
        before.unlink()


def keep(before: Path = BEFORE) -> None:
    """Let the override stand."""
    before.unlink(missing_ok=True)
