"""Safetensors files with the same bytes each time.

safetensors' own writer leaves the order of the metadata to chance (a Rust hash map), so the same adapter would have
another sha256 in each process. The module lies beside the base model because sampling, training and `lora` all read
such files, and the base itself is checked by its header: `diffusion` is the last room that all of them may import.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.uint8: "U8"}


def serialize(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], hash_keys: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a safetensors file; each of `hash_keys` (key: prefix) joins the metadata with the data's sha256."""
    entries, data = _layout(tensors)
    digest = hashlib.sha256(data).hexdigest()
    described = {**metadata, **{key: prefix + digest for key, prefix in (hash_keys or {}).items()}}
    if described:
        entries = {"__metadata__": dict(sorted(described.items())), **entries}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hex sha256 of the data that `serialize` writes for `tensors`."""
    return hashlib.sha256(_layout(tensors)[1]).hexdigest()


def _layout(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], bytes]:
    """Header entries and data of `tensors`, wide types first, then by name (so that each lies aligned)."""
    entries: dict[str, Any] = {}
    blocks: list[bytes] = []
    start = 0
    for name in sorted(tensors, key=lambda key: (-tensors[key].element_size(), key)):
        value = tensors[name].detach().cpu().contiguous()
        data = value.reshape(-1).view(torch.uint8).numpy().tobytes()
        ends = [start, start + len(data)]
        entries[name] = {"dtype": DTYPES[value.dtype], "shape": list(value.shape), "data_offsets": ends}
        blocks.append(data)
        start += len(data)
    return entries, b"".join(blocks)
