"""Safetensors with the same bytes each time: the library's own writer leaves the metadata's order to chance."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anime_lora.errors import AdapterError

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.uint8: "U8"}


def body(tensors: dict[str, Tensor]) -> tuple[dict[str, Any], bytes]:
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


def serialized(tensors: dict[str, Tensor], metadata: dict[str, str], hash_keys: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file; each of `hash_keys` (key: prefix) joins the metadata with the data's sha256."""
    entries, data = body(tensors)
    digest = hashlib.sha256(data).hexdigest()
    described = {**metadata, **{key: prefix + digest for key, prefix in (hash_keys or {}).items()}}
    if described:
        entries = {"__metadata__": dict(sorted(described.items())), **entries}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: `__metadata__` and one entry per tensor.

    Raises:
        AdapterError: the file is not safetensors or is cut short.
    """
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            size = path.stat().st_size
            if length > size - 8:
                raise ValueError("its header is longer than the file")
            header: dict[str, Any] = json.loads(stream.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if max(ends, default=0) != size - 8 - length:
            raise ValueError("its data is cut short")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise AdapterError(f"{path} cannot be read as safetensors: {error}") from error
    return header


def data_hash(path: Path) -> str:
    """Hex sha256 of the bytes after the header: what webuis know a LoRA by."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        stream.seek(8 + length)
        return hashlib.file_digest(stream, "sha256").hexdigest()
