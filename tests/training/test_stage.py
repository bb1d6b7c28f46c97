"""The train stage from dataset to published adapter."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anime_lora.config.train import Train
from anime_lora.errors import BaseModelError, DatasetError, DeviceError, TrainingError
from anime_lora.files import read_jsonl, write_jsonl
from anime_lora.training.trainer import Trainer
from anime_lora.training.validation import EpochResult, Validator
from tests.support.tiny import ROOT, train_tiny, write_dataset


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


@pytest.mark.parametrize("change", [lambda content: content + b"x", lambda content: content[:-1], lambda _: None])
def test_an_image_that_changed_after_organize_is_named_with_or_without_its_latent(
    stage: Callable[..., Path], tmp_path: Path, change: Callable[[bytes], bytes | None]
) -> None:
    """An appended byte, a cut and a lost file; what was trained before stays."""
    folder = write_dataset(tmp_path / "organize")
    out = stage(organize=folder, epochs=1)
    before = (out / "record.json").read_bytes()
    file = sorted(folder.rglob("*.png"))[0]
    content = change(file.read_bytes())
    file.unlink() if content is None else file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(DatasetError, match=rf"{file.name} changed after organize: run `dvc repro organize`"):
            stage(organize=folder, epochs=1)
        shutil.rmtree(tmp_path / ".cache/latents", ignore_errors=True)
    assert (out / "record.json").read_bytes() == before


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
    adapter = Trainer.adapter

    def overflowing(trainer: Trainer) -> dict[str, torch.Tensor]:
        last = trainer.folder.glob("epochs/epoch-01.*")
        return {name: value * (1e9 if list(last) else 1) + 1 for name, value in adapter(trainer).items()}

    monkeypatch.setattr(Trainer, "adapter", overflowing)
    out = stage(keep_epochs=True)
    record = json.loads((out / "record.json").read_text())
    assert (record["epoch"], record["last_epoch"]) == (1, 2)
    assert "is not finite in fp16" in record["last_fault"]
    printed = capsys.readouterr().out
    assert "warning: the last epoch is left out: " in printed
    assert "warning: epoch 2 is left out: " in printed
    assert not (out / "last").exists()
    assert [file.name for file in (out / "epochs").iterdir()] == ["epoch-01.safetensors"]
    assert (out / "t_c.safetensors").is_file()


def test_a_full_gpu_while_training_is_one_clear_error(
    stage: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that does not fit: the same error as `plan` gives."""

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Trainer, "loss", full)
    with pytest.raises(DeviceError, match=r"train\.batch_size = 2 does not fit.*gradient_checkpointing"):
        stage(heldout_images=0)


def test_what_is_unlikely_to_be_meant_is_warned_of(stage: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    """`train` prints the warnings of `plan`, once each: here patience without held-out images."""
    stage(epochs=1, patience=2, heldout_images=0)
    assert capsys.readouterr().out.count("warning: train.patience has no effect without held-out images") == 1


RUNS = [
    {"optimizer": "adamw8bit"},
    {"optimizer": "prodigy", "learning_rate": 1.0, "text_encoder_learning_rate": 1.0},
    {"optimizer": "adafactor"},
    {"dora": True, "target": "attn"},
    {"rslora": True, "dropout": 0.3},
    {"precision": "bf16"},
    {"text_encoder_learning_rate": 1e-3, "shuffle_tags": True, "caption_dropout": 0.2},
    {"min_snr_gamma": 5.0, "noise_offset": 0.05, "flip": True, "ema_decay": 0.9},
    {"prediction_type": "v_prediction", "min_snr_gamma": 5.0, "schedule": "cosine", "warmup_steps": 2},
    {"prior_images": 3, "prior_weight": 0.5, "keep_epochs": True},
]


@pytest.mark.parametrize("changes", RUNS, ids=str)
def test_option_trains_and_publishes(stage: Callable[..., Path], changes: dict) -> None:
    """With the option on, the stage runs to its end, the loss is finite and the adapter has moved."""
    out = stage(epochs=1, heldout_images=1, **changes)
    adapter = load_file(out / "pytorch_lora_weights.safetensors")
    assert all(value.isfinite().all() for value in adapter.values())
    assert any(value.any() for name, value in adapter.items() if "lora_B" in name)
    rows = (out / "plots" / "loss.csv").read_text().splitlines()[1:]
    assert all(0 < float(row.split(",")[2]) < 10 for row in rows)
    assert (out / "epochs").exists() == changes.get("keep_epochs", False)


def test_early_stop_keeps_the_best(stage: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a loss that only rises after epoch 1, patience 2 ends training after epoch 3 and the record says why."""
    values = [1.0, 0.5, 0.7, 0.9, 1.1]

    def measured(validator: Validator, epoch: int, step: int, loss: Callable) -> EpochResult:
        result = validate(validator, epoch, step, loss)
        return replace(result, heldout=values[epoch], each=[values[epoch]] * 2)

    validate = Validator.validate
    monkeypatch.setattr(Validator, "validate", measured)
    record = json.loads((stage(epochs=4, patience=2) / "record.json").read_text())
    assert record["stopped_early"]
    assert record["epoch"] == 1
    assert record["last_epoch"] == 3
    assert "lowest held-out loss" in record["reason"]
    assert "distance" in record["reason"]
    scores = [row["score"] for row in record["epochs"]]
    assert scores.index(max(scores)) == 1


def test_every_setting_has_a_line_that_says_its_effect() -> None:
    """No setting of `train` stands in params.yaml without words beside it."""
    lines = (ROOT / "params.yaml").read_text().splitlines()
    for name in Train.model_fields:
        (line,) = [line for line in lines if line.startswith(f"  {name}:") and lines.index("train:") < lines.index(line)
                   < lines.index("validate_sample:")]  # fmt: skip
        assert len(line.split("#", 1)[-1].split()) >= 3 or name == "validation_steps", line
        assert "#" in line, line
