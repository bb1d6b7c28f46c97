"""`plan` says what a run will do and cost, and refuses what cannot succeed."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from anime_lora.config.section import Base
from anime_lora.diffusion.device import room_in_memory
from anime_lora.errors import DeviceError, TrainingError
from anime_lora.training.checkpoint import Checkpoints
from anime_lora.training.estimate import plan
from tests.support.tiny import COMPUTE, CONCEPT, SIDE, train_settings

OTHERS: list[dict[str, Any]] = [{}, {"precision": "bf16"}, {"prediction_type": "v_prediction"}]


@pytest.fixture
def planned(tiny_base: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    base = Base(model=str(tiny_base), revision=None, resolution=SIDE)

    def run(concept: Any = CONCEPT, **changes: Any) -> list[tuple[str, str]]:
        return plan(train_settings(**changes), concept, base, COMPUTE, dataset, tmp_path / ".cache").rows()

    return run


def test_counts_follow_from_the_settings(planned: Any) -> None:
    rows = dict(planned(epochs=3, batch_size=2, gradient_accumulation_steps=2, learning_rate=1e-4, rank=2, alpha=4.0))
    assert rows["images"] == "6 to train on, 2 held out"
    assert rows["optimizer steps"] == "6 (2 per epoch)"
    assert rows["effective batch"] == "4 (2 x 2)"
    assert rows["effective learning rate"] == "0.0002 (0.0001 x 2)"
    assert rows["truncated captions"] == "0"
    assert rows["trigger"].startswith("t is 1 tokens")


def test_costs_are_measured_and_nothing_but_latents_is_left_behind(planned: Any, tmp_path: Path) -> None:
    rows = dict(planned())
    assert float(rows["time per step"].removesuffix(" s")) >= 0
    assert all("MiB" in rows[name] for name in ("checkpoint", "disk"))
    assert "GiB" in rows["memory"]
    assert {path.name for path in (tmp_path / ".cache").iterdir()} <= {"latents", "progress"}


def test_the_checkpoint_size_is_the_real_one(planned: Any, stage: Any, tmp_path: Path) -> None:
    estimated = float(dict(planned(checkpoint_every=1))["checkpoint"].removesuffix(" MiB"))
    sizes: list[int] = []
    save = Checkpoints.save

    def spy(*args: Any) -> Path:
        folder = save(*args)
        sizes.append(sum(path.stat().st_size for path in folder.rglob("*")))
        return folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", spy)
        stage(checkpoint_every=1)
    assert sizes
    assert abs(estimated - max(sizes) / 2**20) < 0.3


def test_a_run_that_would_fill_the_disk_is_refused(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 10 KiB free: what is needed, what is there, and the settings that take less."""
    import shutil

    usage = shutil.disk_usage("/")._replace(free=10240)
    monkeypatch.setattr("anime_lora.training.estimate.shutil.disk_usage", lambda _: usage)
    with pytest.raises(TrainingError, match=r"has 0 MiB free.*train\.keep_checkpoints"):
        planned()


def test_a_disk_that_fills_while_planning_is_one_clear_error(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space for the first latent: what cannot be written, where, and what to do."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("anime_lora.training.latent_cache.write_bytes", full)
    with pytest.raises(TrainingError, match=r"no space left while writing latents .* in .*\.cache: free some"):
        planned()


def test_nonsense_is_refused_with_every_reason_at_once(planned: Any) -> None:
    other = CONCEPT.model_copy(update={"trigger": "unheard"})
    with pytest.raises(TrainingError, match="3 reasons") as caught:
        planned(concept=other, learning_rate=0.5, warmup_steps=500)
    for words in ("train.learning_rate x alpha / rank", "train.warmup_steps = 500", "concept.trigger = unheard"):
        assert words in str(caught.value)


def test_class_images_are_generated_where_training_looks_for_them(planned: Any, stage: Any, tmp_path: Path) -> None:
    """A plan generates one step's, counts time and encoding of the others, which stay for the run; other rates too."""
    rows = dict(planned(prior_images=5, flip=True))
    generated = {path: path.stat().st_mtime_ns for path in (tmp_path / ".cache" / "prior").rglob("*.png")}
    assert len(generated) == 2
    assert "to generate 3 class images" in rows["time in all"]
    assert "to encode 24 images" in rows["time in all"]
    assert "class images" not in dict(planned(prior_images=2, learning_rate=1e-4))["time in all"]
    stage(prior_images=5, epochs=1, flip=True)
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / ".cache" / "prior").rglob("*.png")}
    assert len(there) == 5
    assert generated.items() <= there.items()


def test_class_images_of_another_precision_are_others(make: Any, tmp_path: Path) -> None:
    folders = {make(prior_images=1, **changes).class_images[0].path.parent for changes in OTHERS}
    assert len(folders) == len(OTHERS)


def test_the_text_encoders_rate_is_shown_and_checked(planned: Any) -> None:
    """Its rate has a row and limits of its own; under prodigy both rates must be one."""
    rows = planned(text_encoder_learning_rate=1e-7)
    assert dict(rows)["effective rate of the text encoder"] == "2e-07 (1e-07 x 2)"
    assert any(value.startswith("train.text_encoder_learning_rate x") for what, value in rows if what == "warning")
    with pytest.raises(TrainingError, match=r"train\.text_encoder_learning_rate x alpha / rank = 2 is above"):
        planned(text_encoder_learning_rate=1.0)
    with pytest.raises(TrainingError, match=r"train\.text_encoder_learning_rate = 0\.5 differs.*prodigy"):
        planned(optimizer="prodigy", learning_rate=1.0, text_encoder_learning_rate=0.5)


def test_warnings_stop_nothing(planned: Any) -> None:
    warnings = [value for what, value in planned(patience=50, learning_rate=1e-7) if what == "warning"]
    assert any("train.patience = 50" in each for each in warnings)
    assert any("1e-07 x" in each or "2e-07" in each for each in warnings)


def test_a_full_gpu_names_the_settings_to_change(make: Any) -> None:
    trainer = make()
    room = room_in_memory(trainer.settings, trainer.accelerator.device)
    with pytest.raises(DeviceError, match=r"train\.batch_size = 2 does not fit"), room:
        raise torch.OutOfMemoryError("CUDA out of memory")
