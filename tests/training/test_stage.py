"""The train stage from dataset to published adapter."""

from collections.abc import Callable
from pathlib import Path


def test_everything_promised_is_written(stage: Callable[..., Path]) -> None:
    """Both files, record, curves, card, strips and the last adapter are there, and the work folder is gone."""
    out = stage()
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        "pytorch_lora_weights.safetensors",
        "t_c.safetensors",
        "record.json",
        "README.md",
        "plots/loss.csv",
        "plots/heldout.csv",
        "samples/epoch-00.png",
        "samples/epoch-01.png",
        "samples/epoch-02.png",
        "last/pytorch_lora_weights.safetensors",
        "last/t_c.safetensors",
    }
    assert not list((out.parent / ".cache" / "train").iterdir())
