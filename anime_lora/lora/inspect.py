"""What a LoRA file holds and says about itself, whoever made it: read from its bytes, no base needed."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from anime_lora.errors import AdapterError
from anime_lora.lora.formats.lycoris import Module, modules
from anime_lora.tensor_file import data_hash, read_header

SHOWN_TAGS = 20
LONG = 200
"""A longer metadata value is shown by its length: thumbnails, whole tag tables."""

Rows = list[tuple[str, str]]


def inspect(path: Path) -> Rows:
    """Rows of (what, value): format, modules by part, ranks, alphas, size of the change, hashes, then all metadata.

    Raises:
        AdapterError: the file is not there, no safetensors, or holds no LoRA this reads.
    """
    if not path.is_file():
        raise AdapterError(f"{path} is not a file")
    header = read_header(path)
    said: dict[str, str] = header.pop("__metadata__", None) or {}
    _opened(path)
    found, others = modules(header)
    if not found:
        raise AdapterError(f"{path} holds no LoRA this reads (a full model is none): it has {next(iter(header), None)}")
    halves = [module for module in found if module.missing()]
    if halves:
        half, lacking = halves[0], str(halves[0].missing()).lstrip(".")
        raise AdapterError(f"{path}: {half.path}{half.endings[0]} has no {lacking} ({len(halves)} such modules)")
    paths = [module.path for module in found]
    return [
        ("file format", _counted(module.family.name for module in found)),
        ("size", f"{path.stat().st_size / 2**20:.2f} MiB, {_counted(entry['dtype'] for entry in header.values())}"),
        ("modules", f"{len(found)}: {_counted(map(_part, paths))}"),
        ("rank", _counted(_rank(module, header) for module in found)),
        ("alpha", _alphas(path, said, paths, header)),
        ("DoRA", "yes" if any("magnitude" in n or n.endswith("dora_scale") for n in header) else "no"),
        *([("other tensors", f"{len(others)}, e.g. {others[0]}")] if others else []),
        *_change(path, found),
        *_hash(path, said),
        *_metadata_rows(said),
    ]


def _opened(path: Path) -> None:
    """Refuse what the library itself does not read: names, types or places that do not fit the data."""
    try:
        with safe_open(path, "pt"):
            pass
    except SafetensorError as error:
        raise AdapterError(f"{path} cannot be read as safetensors: {error}") from error


def _rank(module: Module, header: dict[str, Any]) -> str:
    name = module.rank_name()
    return "stored whole" if name is None else str((header[name]["shape"] or [1])[0])


def _counted(values: Any) -> str:
    """`16 (190 times), 8 (2 times)`, or only the value when there is one."""
    counts = Counter(map(str, values)).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{value} ({count} times)" for value, count in counts)


def _part(name: str) -> str:
    if re.match(r"(lora_te|text_encoder)", name):
        return "text encoder"
    kinds = {r"attn1": "self-attention", r"attn2": "cross-attention", r"[._]ff[._]": "feed-forward"}
    return next((kind for pattern, kind in kinds.items() if re.search(pattern, name)), "convolution and other")


def _alphas(path: Path, said: dict[str, str], modules: list[str], header: dict[str, Any]) -> str:
    names = [f"{module}.alpha" for module in modules if f"{module}.alpha" in header]
    if names:
        with safe_open(path, "pt") as file:
            return _counted(f"{value:g}" for name in names for value in file.get_tensor(name).flatten().tolist())
    config = next((_json(said[key]) for key in ("lora_adapter_metadata",) if key in said), None)
    found = [
        value for key, value in (config or {}).items() if key.endswith("lora_alpha") and isinstance(value, int | float)
    ]
    return _counted(f"{value:g}" for value in found) if found else "not in the file: a reader takes alpha = rank"


def _change(path: Path, found: list[Module]) -> Iterator[tuple[str, str]]:
    """How much the factors hold, the product of their norms per module, and what is wrong with them."""
    norms, broken = [], []
    with safe_open(path, "pt") as file:
        for module in found:
            factors = [file.get_tensor(module.path + ending).float() for ending in module.endings]
            norms.append(math.prod(float(factor.norm()) for factor in factors))
            if not all(torch.isfinite(factor).all() for factor in factors):
                broken.append(module.path)
    still = sum(norm == 0 for norm in norms)
    middle = sorted(norms)[len(norms) // 2]
    yield (
        "change",
        f"product of the factors' norms per module: median {middle:.3g}, largest {max(norms):.3g}; "
        f"{still} modules change nothing",
    )
    if broken:
        yield "broken", f"{len(broken)} modules hold NaN or infinity, e.g. {broken[0]}"


def _hash(path: Path, said: dict[str, str]) -> Iterator[tuple[str, str]]:
    found = data_hash(path)
    claimed = said.get("sshs_model_hash")
    verdict = (
        "" if claimed is None else (", as the file says" if claimed == found else f", but the file says {claimed}")
    )
    yield "sha256 of the weights", found + verdict
    yield "AutoV2 of the weights", found[:10]


def _metadata_rows(said: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The metadata, sorted; tags by frequency, long values by their length."""
    for key, value in sorted(said.items()):
        if key == "ss_tag_frequency":
            yield key, _tags(value)
        elif len(value) > LONG:
            yield key, f"{value[:40]}… ({len(value)} characters)"
        else:
            yield key, value
    if not said:
        yield "metadata", "none"


def _tags(value: str) -> str:
    counts: Counter[str] = Counter()
    folders = [folder for folder in (_json(value) or {}).values() if isinstance(folder, dict)]
    for folder in folders:
        counts.update({tag: count for tag, count in folder.items() if isinstance(count, int)})
    more = f" and {len(counts) - SHOWN_TAGS} more" if len(counts) > SHOWN_TAGS else ""
    return ", ".join(f"{tag} {count}" for tag, count in counts.most_common(SHOWN_TAGS)) + more


def _json(value: str) -> dict[str, Any] | None:
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
