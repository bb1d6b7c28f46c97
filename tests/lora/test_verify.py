"""One row for each question; the first that fails is the last."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anime_lora.lora.base_fit import BaseShapes, shapes_of_models
from anime_lora.lora.verify import verify
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline

PIPE = tiny_pipeline()
BASE: BaseShapes = shapes_of_models(PIPE.unet, PIPE.text_encoder, "tiny")


@pytest.mark.parametrize("kind", files.KINDS)
def test_a_whole_file_of_every_kind_is_usable(tmp_path: Path, kind: str) -> None:
    checks = verify(files.write(tmp_path, kind, PIPE), BASE)
    assert {check.verdict for check in checks} <= {"ok", "note"}
    assert [check.what for check in checks][-1] == "base"
    assert "fit tiny (reads text of width 32)" in checks[-1].answer


def row(path: Path, what: str) -> tuple[str, str]:
    return next((check.verdict, check.answer) for check in verify(path, BASE) if check.what == what)


def test_each_fault_is_in_the_row_it_belongs_to(tmp_path: Path) -> None:
    """A web page in `file`, NaN in `content`, another base in `base`; rows after it are not asked."""
    path = tmp_path / "x.safetensors"
    path.write_text("<!DOCTYPE html>")
    assert [check.what for check in verify(path, BASE)] == ["file"]
    assert row(path, "file")[0] == "fails"
    tensors = files.kohya_file(PIPE, files.LINEAR)
    save_file({name: value * float("nan") for name, value in tensors.items()}, path)
    assert row(path, "content")[0] == "fails"
    save_file({name.replace("attentions_0", "attentions_8"): value for name, value in tensors.items()}, path)
    verdict, answer = row(path, "base")
    assert verdict == "fails"
    assert "which the base lacks" in answer


def test_what_is_odd_is_noted_and_no_fault(tmp_path: Path) -> None:
    """A wrong hash, an alpha a thousand times the rank, modules of zeros, an alpha that is not said."""
    tensors = files.kohya_file(PIPE, files.LINEAR, alpha=4000.0)
    tensors = {name: torch.zeros_like(value) if "lora_up" in name else value for name, value in tensors.items()}
    save_file(tensors, tmp_path / "x.safetensors", {"sshs_model_hash": "0" * 64})
    notes = {check.what: check.answer for check in verify(tmp_path / "x.safetensors", BASE) if check.verdict == "note"}
    assert notes.keys() == {"hash", "alphas", "change"}
    assert "alpha / rank 1000" in notes["alphas"]
    save_file(files.peft(PIPE, files.LINEAR), tmp_path / "y.safetensors")
    assert "does not say its alpha" in row(tmp_path / "y.safetensors", "note")[1]


def test_the_base_it_was_trained_on_is_compared_where_the_file_says_it(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(files.kohya_file(PIPE, files.LINEAR), path, {"anime_lora.base_sha256": "ab" * 32})
    for base_hash, verdict in (("ab" * 32, "ok"), ("cd" * 32, "note")):
        last = verify(path, BASE, lambda value=base_hash: value)[-1]
        assert (last.what, last.verdict) == ("trained on", verdict)
    save_file(files.kohya_file(PIPE, files.LINEAR), path)
    assert verify(path, BASE, lambda: pytest.fail("nothing to compare"))[-1].what == "base"
