"""The train stage from dataset to published adapter."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from anime_lora.errors import BaseModelError, TrainingError
from anime_lora.files import read_jsonl, write_jsonl
from anime_lora.training.trainer import Run
from tests.support.tiny import train_tiny, write_dataset


def test_a_caption_of_300_tokens_is_named_and_cut(
    stage: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Training goes on with what the text encoder reads, and a warning says which caption is too long."""
    folder = write_dataset(tmp_path / "organize")
    rows = read_jsonl(folder / "metadata.jsonl")
    rows[0]["text"] = "t c " + " ".join(["x"] * 296)
    write_jsonl(folder / "metadata.jsonl", rows)
    assert (stage(organize=folder, epochs=1) / "record.json").is_file()
    assert "warning: 1 captions are longer than 77 tokens; the rest is not read: t c x" in capsys.readouterr().out


def test_nonsense_is_refused_before_the_base_is_loaded(
    stage: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `plan` does: every reason, before a weight is read, and nothing is written."""
    monkeypatch.setattr("anime_lora.training.stage.locate", lambda _: pytest.fail("the base was looked at"))
    with pytest.raises(TrainingError, match=r"(?s)2 reasons.*learning_rate.*warmup_steps"):
        stage(learning_rate=0.9, warmup_steps=500)
    assert not Path("train").exists()


@pytest.mark.parametrize(
    ("model", "says"), [("model.ckpt", "pickled checkpoint and is refused"), ("nowhere/at/all", "is not there")]
)
def test_a_base_that_cannot_be_is_refused_and_the_last_adapter_stays(
    stage: Callable[..., Path], tmp_path: Path, dataset: Path, model: str, says: str
) -> None:
    """A pickle or nothing as base: one clear error, and what was published before is as it was."""
    out = stage(epochs=1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x04.")
    with pytest.raises(BaseModelError, match=says):
        train_tiny(Path(model), dataset, tmp_path)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


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


def test_a_webui_can_generate_an_epochs_sample(stage: Callable[..., Path]) -> None:
    """The strips' PNGs name the noise's source and, but for the base's own, the published file in the prompt."""
    out = stage(epochs=1, validation_prompt="t c, green")
    texts = []
    for file in sorted((out / "samples").iterdir()):
        with Image.open(file) as strip:
            texts.append(strip.info["parameters"].split("\n"))
    assert [prompt for prompt, _ in texts] == ["t c, green", "t c, green <lora:t_c:1>"]
    assert {facts for _, facts in texts} == {
        "Steps: 2, Sampler: DPM++ 2M, CFG scale: 5.0, Seed: 1, Size: 64x64, RNG: CPU"
    }


def test_a_last_epoch_that_overflows_does_not_hold_up_the_best(
    stage: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With a last adapter too large for fp16 the published epoch is there, and the record says what is missing."""
    monkeypatch.setattr("anime_lora.training.stage.choose", lambda _: (1, "chosen by the test"))
    adapter = Run.adapter

    def overflowing(run: Run) -> dict[str, torch.Tensor]:
        last = run.folder.glob("epochs/epoch-01.*")
        return {name: value * (1e9 if list(last) else 1) + 1 for name, value in adapter(run).items()}

    monkeypatch.setattr(Run, "adapter", overflowing)
    out = stage(keep_epochs=True)
    record = json.loads((out / "record.json").read_text())
    assert (record["epoch"], record["last_epoch"]) == (1, 2)
    assert "is not finite in fp16" in record["last_fault"]
    said = capsys.readouterr().out
    assert "warning: the last epoch is left out: " in said
    assert "warning: epoch 2 is left out: " in said
    assert not (out / "last").exists()
    assert [file.name for file in (out / "epochs").iterdir()] == ["epoch-01.safetensors"]
    assert (out / "t_c.safetensors").is_file()


def test_a_full_gpu_while_training_is_one_clear_error(
    stage: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is told as `plan` tells it."""

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Run, "losses", full)
    with pytest.raises(TrainingError, match=r"train\.batch_size = 2 does not fit.*gradient_checkpointing"):
        stage(heldout_images=0)


def test_what_is_seldom_meant_is_said(stage: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    """`train` warns of what `plan` calls a doubt, once: here patience without held-out images."""
    stage(epochs=1, patience=2, heldout_images=0)
    assert capsys.readouterr().out.count("warning: train.patience has no effect without held-out images") == 1
