"""Whether a LoRA file is whole and usable on a base: one row for each question."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anime_lora.errors import AdapterError
from anime_lora.lora.base_fit import BaseShapes, fit
from anime_lora.lora.inspect import LoraFile, inspect
from anime_lora.lora.weights import LoraWeights, read_weights

Verdict = Literal["ok", "note", "fails"]
LARGE = 100.0
"""A scale (alpha / rank) above which something is likely to be wrong."""


@dataclass(frozen=True)
class Check:
    """One question about a file, and the answer."""

    what: str
    verdict: Verdict
    answer: str


TRAINED_ON = "anime_lora.base_sha256"


def verify(path: Path, base: BaseShapes, base_hash: Callable[[], str] | None = None) -> list[Check]:
    """Check a LoRA file: whole, keys, ranks, alphas, finite, hash, base; the first that fails ends the list.

    Args:
        path: the file.
        base: what the LoRA is to be used on.
        base_hash: gives the hash of the base's weights; asked only where the file says what it was trained on.
    """
    try:
        file = inspect(path)
    except AdapterError as error:
        return [Check("file", "fails", str(error))]
    size = f"whole safetensors, {file.size / 2**20:.2f} MiB"
    checks = [Check("file", "ok", size), _hash(file)]
    try:
        lora = read_weights(path)
    except AdapterError as error:
        return [*checks, Check("content", "fails", str(error))]
    checks += [*_content(file, lora), *(Check("note", "note", note) for note in lora.notes)]
    try:
        fit(lora.modules, base, str(path))
    except AdapterError as error:
        return [*checks, Check("base", "fails", str(error))]
    checks.append(Check("base", "ok", f"all {len(lora.modules)} modules fit {base.name} ({base.architecture})"))
    stated = lora.metadata.get(TRAINED_ON)
    if stated is not None and base_hash is not None:
        same = stated == base_hash()
        answer = "these weights" if same else f"other weights of this shape ({stated[:12]}): look at the images"
        checks.append(Check("trained on", "ok" if same else "note", answer))
    return checks


def _hash(file: LoraFile) -> Check:
    stated = file.metadata.get("sshs_model_hash")
    if stated is None:
        return Check("hash", "ok", f"sha256 of the weights {file.data_sha256[:10]}…; the file states none")
    if stated == file.data_sha256:
        return Check("hash", "ok", f"sha256 of the weights is as the file says ({stated[:10]}…)")
    answer = (
        f"the file says {stated[:10]}…, its weights are {file.data_sha256[:10]}…: they were changed after it was saved"
    )
    return Check("hash", "note", answer)


def _content(file: LoraFile, lora: LoraWeights) -> Iterator[Check]:
    families = ", ".join(dict.fromkeys(module.family.name for module in file.modules))
    yield Check("keys", "ok", f"{len(lora.modules)} modules, every factor there: {families}")
    ranks = Counter(weights.rank for weights in lora.modules.values())
    yield Check("ranks", "ok", ", ".join(f"{rank} ({count} modules)" for rank, count in sorted(ranks.items())))
    scales = [abs(weights.scale) for weights in lora.modules.values()]
    span = f"alpha / rank {min(scales):g}" + (f" to {max(scales):g}" if min(scales) < max(scales) else "")
    odd = max(scales) > LARGE or min(scales) == 0
    yield Check("alphas", "note" if odd else "ok", span + (": unusual, look at the images" if odd else ""))
    yield Check("values", "ok", "no NaN, no infinity")
    empty = file.norms.count(0)
    if empty:
        yield Check("change", "note", f"{empty} of {len(file.modules)} modules change nothing")
