from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anime_lora.config.section import Base, Compute
from anime_lora.errors import AdapterError
from anime_lora.sampling.pipelines import Pipelines


def weights_of(pipelines: Pipelines) -> dict[str, torch.Tensor]:
    """The base's own weights, LoRA layers left out."""
    state = pipelines.unet.state_dict()
    return {key.replace("base_layer.", ""): value.clone() for key, value in state.items() if "lora_" not in key}


def predict(pipelines: Pipelines) -> torch.Tensor:
    embeddings, _ = pipelines.text_to_image.encode_prompt("girl", "cpu", 1, False)
    with torch.inference_mode():
        return pipelines.unet(torch.ones(1, 4, 8, 8), 500, encoder_hidden_states=embeddings).sample


def save_with(file: Path, lora_file: Path, **metadata: str) -> Path:
    """A copy of a LoRA file with more in its metadata."""
    with safe_open(lora_file, "pt") as opened:
        known = opened.metadata() or {}
    save_file(load_file(lora_file), file, {**known, **metadata})
    return file


def test_every_pipeline_shares_the_same_modules(base: Base, compute: Compute, controlnet: Path) -> None:
    """So a LoRA that is loaded once is on everywhere."""
    pipelines = Pipelines(base, compute, str(controlnet))
    assert pipelines.controlnet is not None
    for pipeline in (pipelines.text_to_image, pipelines.image_to_image, pipelines.controlnet):
        assert pipeline.unet is pipelines.unet
        assert pipeline.vae is pipelines.vae
        assert pipeline.text_encoder is pipelines.text_to_image.text_encoder


def test_a_lora_is_off_until_its_weight_is_set_and_off_again_at_0(
    pipelines: Pipelines, base: Base, compute: Compute
) -> None:
    bare = predict(Pipelines(base, compute))
    assert predict(pipelines).equal(bare)
    pipelines.set_weights({"style": 1.0})
    assert not predict(pipelines).equal(bare)
    pipelines.set_weights({"style": 0.0})
    assert predict(pipelines).equal(bare)


def test_half_the_weight_moves_the_prediction_half_as_far_at_first_order(pipelines: Pipelines) -> None:
    """A weight scales the LoRA's delta: small weights move the prediction in proportion."""
    predictions = []
    for weight in (0.0, 1e-3, 2e-3):
        pipelines.set_weights({"style": weight})
        predictions.append(predict(pipelines))
    bare, one, two = predictions
    ratio = (two - bare).norm() / (one - bare).norm()
    assert ratio == pytest.approx(2, rel=0.05)


def test_merging_restores_the_base_bit_for_bit_on_leaving(pipelines: Pipelines) -> None:
    """Also when the block raises; inside, the weights are others."""
    before = weights_of(pipelines)
    with pytest.raises(KeyboardInterrupt), pipelines.merged({"style": 1.0}):
        inside = weights_of(pipelines)
        raise KeyboardInterrupt
    assert any(not inside[key].equal(before[key]) for key in before)
    after = weights_of(pipelines)
    assert before.keys() == after.keys()
    assert all(before[key].equal(after[key]) for key in before)


def test_unloading_leaves_the_bare_base(pipelines: Pipelines, base: Base, compute: Compute) -> None:
    pipelines.set_weights({"style": 1.0})
    pipelines.unload_loras()
    assert pipelines.loras == {}
    assert predict(pipelines).equal(predict(Pipelines(base, compute)))


def test_a_lora_trained_for_v_is_sampled_with_v(
    base: Base, compute: Compute, lora_file: Path, controlnet: Path, tmp_path: Path
) -> None:
    """The file says what the UNet was trained to predict: base and LoRA are sampled so, old images not reused."""
    v_file = save_with(tmp_path / "v.safetensors", lora_file, **{"modelspec.prediction_type": "v"})
    plain, other = Pipelines(base, compute), Pipelines(base, compute, str(controlnet))
    plain.load_lora(lora_file)
    other.load_lora(v_file)
    assert plain.text_to_image.scheduler.config.prediction_type == "epsilon"
    assert other.controlnet is not None
    for pipeline in (other.text_to_image, other.image_to_image, other.controlnet):
        assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert plain.identity.sampler != other.identity.sampler


@pytest.mark.parametrize(("content", "message"), [
    (None, "is not there: run `dvc repro train`"), (b"nothing of the kind", "is plain text"),
])  # fmt: skip
def test_a_missing_or_damaged_file_is_one_clear_error(
    base: Base, compute: Compute, tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "lora.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AdapterError, match=message):
        Pipelines(base, compute).load_lora(file)


def test_a_lora_of_another_base_is_one_clear_error(
    base: Base, compute: Compute, lora_file: Path, tmp_path: Path
) -> None:
    """Its cross-attention is wider than this base's."""
    wide = {
        key: torch.cat([value, value], 1) if "lora_A" in key else value for key, value in load_file(lora_file).items()
    }
    with safe_open(lora_file, "pt") as opened:
        save_file(wide, tmp_path / "wide.safetensors", opened.metadata())
    with pytest.raises(AdapterError, match=r"made for another base: .*e\.g\. unet\..*take a LoRA trained on this"):
        Pipelines(base, compute).load_lora(tmp_path / "wide.safetensors")
