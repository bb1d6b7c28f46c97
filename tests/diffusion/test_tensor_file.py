"""Safetensors files with the same bytes each time."""

import hashlib
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anime_lora.diffusion.tensor_file import hash_tensors, serialize
from anime_lora.diffusion.weight_file import TensorEntry, data_hash, read_header

TENSORS = {"b": torch.arange(3).half(), "a": torch.randn(2, 3), "z": torch.tensor(4.0)}


def test_safetensors_reads_what_we_write(tmp_path: Path) -> None:
    """The library reads names, shapes, types, values and metadata back."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(serialize(TENSORS, {"k": "ä", "j": "1"}))
    read = load_file(path)
    assert read.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert torch.equal(read[name], value)
        assert read[name].dtype == value.dtype
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"k": "ä", "j": "1"}


def test_the_order_of_the_input_does_not_matter() -> None:
    """Other orders of tensors and metadata give the same bytes."""
    reordered = dict(reversed(TENSORS.items()))
    assert serialize(TENSORS, {"a": "1", "b": "2"}) == serialize(reordered, {"b": "2", "a": "1"})


def test_the_hash_is_of_the_bytes_after_the_header(tmp_path: Path) -> None:
    """The hash in the metadata is sha256 of the data alone, with its prefix."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(serialize(TENSORS, {}, {"sshs_model_hash": "", "modelspec.hash_sha256": "0x"}))
    content = path.read_bytes()
    expected = hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
    assert data_hash(path) == hash_tensors(TENSORS) == expected
    assert read_header(path).metadata == {"sshs_model_hash": expected, "modelspec.hash_sha256": "0x" + expected}


def test_the_header_holds_each_tensor_s_dtype_and_shape(tmp_path: Path) -> None:
    """Also of a file that the library wrote, which has no metadata."""
    save_file(TENSORS, tmp_path / "x.safetensors")
    header = read_header(tmp_path / "x.safetensors")
    assert header.metadata == {}
    assert header.tensors == {
        "a": TensorEntry("F32", (2, 3)),
        "b": TensorEntry("F16", (3,)),
        "z": TensorEntry("F32", ()),
    }
