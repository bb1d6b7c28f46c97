"""What a LoRA file holds and says about itself, whoever made it: read from its bytes, no base needed."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from anime_lora.diffusion.weight_file import Header, data_hash, read_header
from anime_lora.errors import AdapterError
from anime_lora.lora.architecture import architecture, other_kind
from anime_lora.lora.formats.lycoris import AdaptedModule, adapted_modules

LISTED_TAGS = 20
OTHER_ADAPTERS = {
    "an OFT": (".oft_blocks", ".oft_diag", ".oft_R.weight", ".oft_R"),
    "an (IA)³": (".on_input", ".ia3_l"),
    "a GLoRA": (".a1.weight", ".a2.weight"),
}
"""Adapters that multiply the base's weights, by endings of their tensors."""
LONG = 200
"""A longer metadata value is printed as its start and its length: thumbnails, whole tag tables."""


@dataclass(frozen=True)
class LoraFile:
    """One LoRA file; `ranks` and `norms` are in the order of `modules`."""

    path: Path
    size: int
    """Bytes."""
    dtypes: tuple[str, ...]
    """Of every tensor, as safetensors names them."""
    modules: tuple[AdaptedModule, ...]
    ranks: tuple[int | None, ...]
    """None where the change is stored whole."""
    alphas: tuple[float, ...]
    """Those that the file states, empty where it states none: readers then take alpha = rank."""
    dora: bool
    other_tensors: tuple[str, ...]
    """Names of tensors that belong to no adapted module, e.g. of an embedding."""
    norms: tuple[float, ...]
    """Product of the factors' Frobenius norms: 0 changes nothing. Of a Kronecker product it is the norm of ΔW itself,
    of low-rank factors an upper bound of it."""
    not_finite: tuple[str, ...]
    """Paths of modules that hold NaN or infinity."""
    data_sha256: str
    """Hex sha256 of everything after the header."""
    metadata: dict[str, str]
    made_for: str | None
    """The base's architecture, where names and shapes tell it."""


def inspect(path: Path) -> LoraFile:
    """Read a LoRA file of any known format.

    Raises:
        AdapterError: the file is not there, something else, or holds no LoRA this reads.
    """
    header = read_header(path)
    check_opens(path)
    modules, others = adapted_modules(header.tensors)
    if not modules:
        raise AdapterError(f"{path} {_no_lora(header)}")
    incomplete = [(module, missing) for module in modules if (missing := module.missing_ending()) is not None]
    if incomplete:
        module, missing = incomplete[0]
        raise AdapterError(
            f"{path}: {module.path}{module.endings[0]} has no {missing.lstrip('.')} ({len(incomplete)} such modules)"
        )
    norms, finite = _norms(path, modules)
    return LoraFile(
        path=path,
        size=path.stat().st_size,
        dtypes=tuple(entry.dtype for entry in header.tensors.values()),
        modules=tuple(modules),
        ranks=tuple(_rank(module, header) for module in modules),
        alphas=_alphas(path, modules, header),
        dora=any("magnitude" in name or name.endswith("dora_scale") for name in header.tensors),
        other_tensors=tuple(others),
        norms=norms,
        not_finite=tuple(module.path for module, whole in zip(modules, finite, strict=True) if not whole),
        data_sha256=data_hash(path),
        metadata=header.metadata,
        made_for=architecture(header.tensors),
    )


def _no_lora(header: Header) -> str:
    """What a file without adapted modules is, and what to do."""
    kind = other_kind(header.tensors)
    if kind is not None and kind.startswith("a full checkpoint"):
        return f"is {kind}, not a LoRA: name it as base.model, or get a LoRA of it by `anime-lora extract`"
    if kind is not None:
        return f"is {kind}, not a LoRA: name a LoRA file"
    adapter = next(
        (name for name, ends in OTHER_ADAPTERS.items() if any(key.endswith(ends) for key in header.tensors)), None
    )
    if adapter is not None:
        return (
            f"is {adapter} adapter, which is no pair of factors and is not read here: take a LoRA, LoCon, LoHa or LoKr"
        )
    return f"holds no LoRA this reads; its first tensor is {next(iter(header.tensors))}"


def check_opens(path: Path) -> None:
    """Check that safetensors itself reads the file.

    Raises:
        AdapterError: it does not: names, dtypes or offsets do not fit the data.
    """
    try:
        with safe_open(path, "pt"):
            pass
    except SafetensorError as error:
        raise AdapterError(f"{path} cannot be read as safetensors: {error}") from error


def _rank(module: AdaptedModule, header: Header) -> int | None:
    name = module.rank_tensor()
    return None if name is None else (header.tensors[name].shape or (1,))[0]


def _alphas(path: Path, modules: list[AdaptedModule], header: Header) -> tuple[float, ...]:
    """The alphas beside the factors, else those of PEFT's config in the metadata."""
    names = [f"{module.path}.alpha" for module in modules if f"{module.path}.alpha" in header.tensors]
    if names:
        with safe_open(path, "pt") as file:
            return tuple(value for name in names for value in file.get_tensor(name).flatten().tolist())
    config = json_object(header.metadata.get("lora_adapter_metadata", ""))
    return tuple(
        value for key, value in config.items() if key.endswith("lora_alpha") and isinstance(value, int | float)
    )


def _norms(path: Path, modules: list[AdaptedModule]) -> tuple[tuple[float, ...], list[bool]]:
    """Each module's product of norms, and whether all of its factors are finite."""
    norms, finite = [], []
    with safe_open(path, "pt") as file:
        for module in modules:
            factors = [file.get_tensor(module.path + ending).float() for ending in module.endings]
            norms.append(math.prod(float(factor.norm()) for factor in factors))
            finite.append(all(bool(factor.isfinite().all()) for factor in factors))
    return tuple(norms), finite


def json_object(value: str) -> dict[str, Any]:
    """A text that should hold a JSON object, such as a metadata value; empty when it does not."""
    try:
        content = json.loads(value)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def describe(file: LoraFile) -> list[tuple[str, str]]:
    """Rows of (what, value) to print: format, modules by part, ranks, alphas, size of the change, hashes, metadata."""
    others = file.other_tensors
    alphas = _counted(f"{alpha:g}" for alpha in file.alphas)
    return [
        *([("made for", file.made_for)] if file.made_for else []),
        ("file format", _counted(module.family.name for module in file.modules)),
        ("size", f"{file.size / 2**20:.2f} MiB, {_counted(file.dtypes)}"),
        ("modules", f"{len(file.modules)}: {_counted(_part(module.path) for module in file.modules)}"),
        ("rank", _counted("stored whole" if rank is None else str(rank) for rank in file.ranks)),
        ("alpha", alphas or "not in the file: a reader takes alpha = rank"),
        ("DoRA", "yes" if file.dora else "no"),
        *([("other tensors", f"{len(others)}, e.g. {others[0]}")] if others else []),
        *_change_rows(file),
        *_hash_rows(file),
        *_metadata_rows(file.metadata),
    ]


def _counted(values: Iterable[str]) -> str:
    """`16 (190 times), 8 (2 times)`, or only the value when there is one."""
    counts = Counter(values).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{value} ({count} times)" for value, count in counts)


def _part(path: str) -> str:
    if re.match(r"(lora_te|text_encoder)", path):
        return "text encoder"
    parts = {r"attn1": "self-attention", r"attn2": "cross-attention", r"[._]ff[._]": "feed-forward"}
    return next((part for pattern, part in parts.items() if re.search(pattern, path)), "convolution and other")


def _change_rows(file: LoraFile) -> Iterator[tuple[str, str]]:
    norms = sorted(file.norms)
    yield (
        "change",
        f"product of the factors' norms per module: median {norms[len(norms) // 2]:.3g}, largest {max(norms):.3g}; "
        f"{norms.count(0)} modules change nothing",
    )
    if file.not_finite:
        yield "broken", f"{len(file.not_finite)} modules hold NaN or infinity, e.g. {file.not_finite[0]}"


def _hash_rows(file: LoraFile) -> Iterator[tuple[str, str]]:
    stated, comparison = file.metadata.get("sshs_model_hash"), ""
    if stated is not None:
        comparison = ", as the file says" if stated == file.data_sha256 else f", but the file says {stated}"
    yield "sha256 of the weights", file.data_sha256 + comparison
    yield "AutoV2 of the weights", file.data_sha256[:10]


def _metadata_rows(metadata: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The metadata, sorted; tags by frequency, long values by their length."""
    for key, value in sorted(metadata.items()):
        if key == "ss_tag_frequency":
            yield key, _tags(value)
        elif len(value) > LONG:
            yield key, f"{value[:40]}… ({len(value)} characters)"
        else:
            yield key, value
    if not metadata:
        yield "metadata", "none"


def _tags(value: str) -> str:
    counts: Counter[str] = Counter()
    for folder in json_object(value).values():
        if isinstance(folder, dict):
            counts.update({tag: count for tag, count in folder.items() if isinstance(count, int)})
    more = f" and {len(counts) - LISTED_TAGS} more" if len(counts) > LISTED_TAGS else ""
    return ", ".join(f"{tag} {count}" for tag, count in counts.most_common(LISTED_TAGS)) + more
