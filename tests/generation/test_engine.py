from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anime_lora.config.section import Base, Compute
from anime_lora.errors import DeviceError, SamplingError
from anime_lora.generation.engine import Engine
from anime_lora.generation.job import Job
from anime_lora.generation.loras import LoraChoice, LoraFile
from tests.support import lora_files
from tests.support.tiny import SIDE, tiny_pipeline


@pytest.fixture
def job(base: Base) -> Job:
    return Job(base.model, "a girl", "bad", seed=1, steps=2, guidance=5.0, width=SIDE, height=SIDE)


@pytest.fixture
def generate(base: Base, compute: Compute):
    """The pixels of jobs, all on one engine."""

    def pixels(*jobs: Job, batch_size: int = 1, device: str = "cpu") -> list[np.ndarray]:
        engine = Engine(base, compute, list(jobs))
        engine.pipelines.device = device
        images = dict(engine.generate(list(jobs), batch_size, lambda _: None))
        return [np.asarray(images[job], dtype=int) for job in jobs]

    return pixels


@pytest.mark.parametrize("kind", lora_files.KINDS)
def test_every_kind_of_lora_file_is_used_at_its_weight(generate, job: Job, tmp_path: Path, kind: str) -> None:
    """kohya's, diffusers', LoCon, LoHa, LoKr: twice half of it is the whole, weight 0 the base."""
    lora = LoraFile(lora_files.write(tmp_path, kind, tiny_pipeline()))
    other = LoraFile(Path(str(lora.file)).with_name("again.safetensors"))
    other.file.write_bytes(lora.file.read_bytes())
    halves = (LoraChoice(lora, 0.5), LoraChoice(other, 0.5))
    bare, off, whole, twice = generate(
        job,
        replace(job, loras=(LoraChoice(lora, 0.0),)),
        replace(job, loras=(LoraChoice(lora),)),
        replace(job, loras=halves),
    )
    assert (bare == off).all()
    assert abs(whole - bare).max() > 1
    assert abs(whole - twice).max() <= 1


def test_the_text_encoder_s_part_has_a_weight_of_its_own(generate, job: Job, tmp_path: Path) -> None:
    lora = LoraFile(lora_files.write(tmp_path, "with text encoder", tiny_pipeline()))
    whole, unet_only, text_only, bare = generate(
        *(replace(job, loras=(LoraChoice(lora, *weights),)) for weights in ((1.0, None), (1.0, 0.0), (0.0, 1.0))), job
    )
    images = {image.tobytes() for image in (whole, unet_only, text_only, bare)}
    assert len(images) == 4


def test_a_batch_gives_the_images_of_one_by_one_but_for_rounding(generate, job: Job) -> None:
    """As on a GPU: jobs of one kind together, also with prompts of another number of chunks."""
    jobs = [replace(job, seed=seed, prompt=prompt) for seed in (1, 2, 3) for prompt in ("girl", "x " * 100)]
    alone, together = generate(*jobs), generate(*jobs, batch_size=3, device="many")
    assert max(abs(one - other).max() for one, other in zip(alone, together, strict=True)) <= 1


def test_steps_are_counted_for_schedulers_of_any_number_of_calls(base: Base, compute: Compute, job: Job) -> None:
    jobs = [replace(job, scheduler=name, steps=5) for name in ("Heun", "DPM2", "PLMS", "Euler a")]
    counted: list[int] = []
    list(Engine(base, compute, jobs).generate(jobs, 1, counted.append))
    assert sum(counted) == 20
    assert min(counted) >= 0


def test_a_lora_that_predicts_velocity_is_sampled_so(
    generate, base: Base, compute: Compute, job: Job, lora_file: Path, tmp_path: Path
) -> None:
    """Whatever scheduler is asked for; jobs beside it keep the base's prediction."""
    with safe_open(lora_file, "pt") as opened:
        known = opened.metadata() or {}
    save_file(load_file(lora_file), tmp_path / "v.safetensors", {**known, "modelspec.prediction_type": "v"})
    choices = [LoraChoice(LoraFile(tmp_path / "v.safetensors")), LoraChoice(LoraFile(lora_file))]
    jobs = [
        replace(job, loras=(choice,), scheduler=name) for choice in choices for name in (None, "Euler", "UniPC Karras")
    ]
    engine = Engine(base, compute, jobs)
    seen = {}
    for one, _ in engine.generate(jobs, 1, lambda _: None):
        seen[one] = engine.pipelines.text_to_image.scheduler.config.prediction_type
    assert [seen[one] for one in jobs] == ["v_prediction"] * 3 + ["epsilon"] * 3


def test_full_memory_is_one_error(base: Base, compute: Compute, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(base, compute, [job])

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(engine.pipelines.unet, "forward", fail)
    with pytest.raises(DeviceError, match=r"--size 64x64 does not fit into the memory"):
        list(engine.generate([job], 1, lambda _: None))


def test_another_base_s_sizes_are_checked_when_it_is_loaded(base: Base, compute: Compute, job: Job) -> None:
    with pytest.raises(SamplingError, match="in steps of 8"):
        Engine(base, compute, [replace(job, width=68)])
