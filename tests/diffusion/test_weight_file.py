"""A file that is no whole safetensors file is refused in one sentence: what it is, and what to do."""

import struct
from pathlib import Path

import pytest
import torch

from anime_lora.diffusion.tensor_file import serialize
from anime_lora.diffusion.weight_file import read_header
from anime_lora.errors import AdapterError

WHOLE = serialize({"a": torch.randn(2, 3)}, {})
FOREIGN = {
    "empty": (b"", "is empty: .*repeat"),
    "web page": (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page .*download the file itself"),
    "web page after a mark": (b"\xef\xbb\xbf\n  <html lang='en'>", "is a web page"),
    "server's XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
    "json": (b'{"error": "Invalid username or password."}', "is JSON .*Invalid username.*download the file itself"),
    "text": (b"Entry not found, sorry\n", "is plain text .*Entry not found, sorry"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer.*git lfs pull"),
    "zipped pickle": (b"PK\x03\x04" + b"\0" * 22 + b"archive/data.pkl" + b"\0" * 99, "a pickle.*is refused"),
    "pickle": (b"\x80\x02}q\x00(X\x05\0\0\0", "a pickle.*is refused"),
    "zip": (b"PK\x03\x04" + b"\0" * 22 + b"lora.safetensors", "a zip archive: unpack it"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "a PNG image"),
    "gguf": (b"GGUF\3\0\0\0" + b"\0" * 30, "a GGUF file"),
    "zeros": (bytes(4096), "all zeros.*repeat"),
    "noise": (b"\xff" * 64, "cannot be read as safetensors: it has no safetensors header"),
    "three bytes": (b"abc", "cannot be read as safetensors"),
    "cut in the data": (WHOLE[:-5], "cut short .*bytes are there.*again"),
    "cut in the header": (WHOLE[:30], "its header is longer than the file"),
    "longer": (WHOLE + b"xx", "2 bytes too many"),
    "header of another kind": (struct.pack("<Q", 9) + b'{"a": 12}', "cannot be read as safetensors"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_safetensors_file_is_named(tmp_path: Path, name: str) -> None:
    content, message = FOREIGN[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(AdapterError, match=rf"(?s)x\.safetensors .*{message}") as caught:
        read_header(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="is not there: correct"):
        read_header(tmp_path / "x.safetensors")
    with pytest.raises(AdapterError, match="is a folder: name the"):
        read_header(tmp_path)


def test_a_checkpoint_by_its_suffix_is_a_pickle(tmp_path: Path) -> None:
    """Bytes that say nothing: the suffix decides; a safetensors file is read whatever its suffix."""
    (tmp_path / "old.ckpt").write_bytes(b"\x00\x01\xff\xfe" * 20)
    with pytest.raises(AdapterError, match="a pickle"):
        read_header(tmp_path / "old.ckpt")
    (tmp_path / "whole.bin").write_bytes(WHOLE)
    assert list(read_header(tmp_path / "whole.bin").tensors) == ["a"]


@pytest.mark.parametrize("length", [640, 0x0380, 0x7B])
def test_a_header_s_length_is_not_taken_for_magic(tmp_path: Path, length: int) -> None:
    """640 is 80 02 as bytes, like a pickle's start, and 0x7B is `{`."""
    header = WHOLE[8 : 8 + struct.unpack("<Q", WHOLE[:8])[0]].rstrip().ljust(length)
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", length) + header + WHOLE[-24:])
    assert list(read_header(tmp_path / "x.safetensors").tensors) == ["a"]
