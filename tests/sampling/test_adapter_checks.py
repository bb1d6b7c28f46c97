from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anime_lora.config.section import Base, Compute
from anime_lora.errors import AdapterError, SamplingError
from anime_lora.sampling.adapter_checks import check_adapter, check_arithmetic
from anime_lora.sampling.pipelines import Pipelines
from tests.support.small_suite import CONCEPT, small_suite

PROMPTS = ["girl", "boy"]


def filled(lora_file: Path, file: Path, value: float) -> Path:
    """A copy of a LoRA file whose up-projections hold `value` everywhere."""
    with safe_open(lora_file, "pt") as opened:
        metadata = opened.metadata()
    weights = {
        key: torch.full_like(tensor, value) if "lora_B" in key else tensor
        for key, tensor in load_file(lora_file).items()
    }
    assert any("lora_B" in key for key in weights)
    save_file(weights, file, metadata)
    return file


def test_a_sound_lora_is_exact_off_merged_added_and_unloaded(base: Base, compute: Compute, lora_file: Path) -> None:
    """Its own effect is far above each error; afterwards it is still on the base, as the stage needs it."""
    pipelines = Pipelines(base, compute)
    checks = check_arithmetic(pipelines, lora_file, PROMPTS, lora_file, "myStyle_face")
    assert checks.prompts == ("girl", "boy")
    assert checks.zero == checks.unloaded == (0, 0)
    assert max(checks.merged + checks.sum) < 1e-4 < min(checks.effect)
    assert checks.finite
    assert checks.second
    assert checks.shares == (0.4, 0.6)
    assert checks.dtype == "torch.float32"
    assert {name: lora.label for name, lora in pipelines.loras.items()} == {
        "style": "myStyle_face",
        "second": "pytorch_lora_weights",
    }


def test_without_a_second_lora_a_copy_of_the_first_is_added_and_leaves_again(
    base: Base, compute: Compute, lora_file: Path
) -> None:
    pipelines = Pipelines(base, compute)
    checks = check_arithmetic(pipelines, lora_file, PROMPTS, None, "myStyle_face")
    assert not checks.second
    assert max(checks.sum) < 1e-4
    assert list(pipelines.loras) == ["style"]


def test_a_lora_of_zeros_has_no_effect_and_one_of_nan_is_refused(
    base: Base, compute: Compute, lora_file: Path, tmp_path: Path
) -> None:
    zeros = filled(lora_file, tmp_path / "zeros.safetensors", 0.0)
    assert check_arithmetic(Pipelines(base, compute), zeros, PROMPTS, None, "zeros").effect == (0, 0)
    nan = filled(lora_file, tmp_path / "nan.safetensors", float("nan"))
    with pytest.raises(AdapterError, match=r"nan\.safetensors holds NaN or infinity"):
        check_arithmetic(Pipelines(base, compute), nan, PROMPTS, None, "nan")


def test_an_adapter_that_generates_an_image_passes(base: Base, compute: Compute, lora_file: Path) -> None:
    line = check_adapter(lora_file, small_suite(), CONCEPT, base, compute)
    assert line.startswith("generated 64 px of 'myStyle face girl, red hair' with ")
    assert "finite, spread 0." in line


def test_an_adapter_that_generates_no_image_is_refused(
    base: Base, compute: Compute, lora_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that are not finite, one flat colour, or a file that is none."""
    huge = filled(lora_file, tmp_path / "huge.safetensors", 1e30)
    with pytest.raises(SamplingError, match=r"huge\.safetensors generates values that are not finite"):
        check_adapter(huge, small_suite(), CONCEPT, base, compute)
    monkeypatch.setattr("anime_lora.sampling.adapter_checks.FLAT", 2.0)
    with pytest.raises(SamplingError, match="generates one flat colour"):
        check_adapter(lora_file, small_suite(), CONCEPT, base, compute)
    with pytest.raises(AdapterError, match="is not there"):
        check_adapter(tmp_path / "nowhere.safetensors", small_suite(), CONCEPT, base, compute)
