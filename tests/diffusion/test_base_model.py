"""The base model: located, checked and loaded, or one clear reason why not."""

import json
import shutil
from pathlib import Path

import httpx
import pytest
import torch

from anime_lora.config.section import Base
from anime_lora.diffusion import base_model as room
from anime_lora.diffusion.base_model import configs_hash, load_pipeline, locate, weights_hash
from anime_lora.errors import BaseModelError


def section(model: object, revision: str | None = None) -> Base:
    return Base(model=str(model), revision=revision, resolution=64)


@pytest.fixture
def copy(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "copy"))


def test_a_folder_loads_frozen_and_in_eval_mode(tiny_base: Path) -> None:
    """UNet and text encoder in the dtype asked for, the VAE in fp32; nothing trains."""
    pipe = load_pipeline(locate(section(tiny_base)), torch.bfloat16)
    assert pipe.unet.dtype == pipe.text_encoder.dtype == torch.bfloat16
    assert pipe.vae.dtype == torch.float32
    assert not any(p.requires_grad for part in (pipe.unet, pipe.vae, pipe.text_encoder) for p in part.parameters())
    assert not pipe.unet.training


def test_a_folder_with_only_the_fp16_variant_loads(copy: Path) -> None:
    """Weights named `.fp16.` are taken where there are no plain ones."""
    for part, stem in room.WEIGHTS.items():
        (copy / part / f"{stem}.safetensors").rename(copy / part / f"{stem}.fp16.safetensors")
    assert load_pipeline(locate(section(copy))).unet is not None


@pytest.mark.parametrize("suffix", [".ckpt", ".bin", ".pt", ".pth"])
def test_pickles_are_refused_with_the_way_out(tmp_path: Path, suffix: str) -> None:
    """A pickled checkpoint is never opened; the message says how to convert it."""
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"\x80\x04.")
    with pytest.raises(BaseModelError, match=r"(?s)pickled.*save_pretrained"):
        locate(section(file))


@pytest.mark.parametrize("content", [b"PK\x03\x04data.pkl" + b"\0" * 99, b"\x80\x04."], ids=["zip", "pickle"])
def test_a_pickle_by_another_name_is_refused(tmp_path: Path, content: bytes) -> None:
    """A single file whose bytes are not safetensors: said before configs are looked for, with the way to convert it."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(BaseModelError, match=r"(?s)a pickle.*save_pretrained"):
        locate(section(file))


def test_a_folder_of_pickles_is_refused(copy: Path) -> None:
    """A diffusers folder whose UNet is a .bin: the message names the part."""
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BaseModelError, match="unet holds only pickled weights"):
        locate(section(copy))


def test_missing_parts_are_named(copy: Path, tmp_path: Path) -> None:
    """Nothing there, no model_index.json, another pipeline, no VAE weights: each says which."""
    with pytest.raises(BaseModelError, match="is not there"):
        locate(section(tmp_path / "a" / "b"))
    with pytest.raises(BaseModelError, match=r"no model_index\.json"):
        locate(section(tmp_path))
    (copy / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BaseModelError, match=r"vae/diffusion_pytorch_model\.safetensors is missing"):
        locate(section(copy))
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(BaseModelError, match="is a StableDiffusionXLPipeline"):
        locate(section(copy))


def test_damaged_weights_are_one_clear_error(copy: Path) -> None:
    """Cut weights end in a BaseModelError, not in a traceback of the library's."""
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        load_pipeline(locate(section(copy)))


def test_revision_is_the_start_of_the_weights_hash(tiny_base: Path, copy: Path) -> None:
    """The right twelve digits pass, others fail naming both; configs do not count, and moving the folder neither."""
    mark = weights_hash(tiny_base)
    (copy / "unet" / "config.json").write_text((copy / "unet" / "config.json").read_text() + " ")
    assert weights_hash(copy) == mark
    assert configs_hash(copy) != configs_hash(tiny_base)
    locate(section(copy, mark[:12]))
    with pytest.raises(BaseModelError, match=f"{mark[:12]}.*asks for 0123456789ab"):
        locate(section(copy, "0123456789ab"))


@pytest.mark.parametrize("error", [ConnectionError("no route"), httpx.ProxyError("403 Forbidden")], ids=repr)
def test_an_unreachable_hub_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A lost network or a refusing proxy: the message names setting, cache folder, mirror and the offline way."""

    def unreachable(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(room, "snapshot_download", unreachable)
    with pytest.raises(BaseModelError) as caught:
        locate(section("runwayml/stable-diffusion-v1-5"))
    for part in ("base.model", str(room.constants.HF_HUB_CACHE), "hf download stable-diffusion-v1-5/", "--local-dir"):
        assert part in str(caught.value)


def test_only_what_is_read_is_downloaded(monkeypatch: pytest.MonkeyPatch, tiny_base: Path) -> None:
    """From the hub come safetensors of three parts, configs and tokenizer, at the revision asked for."""
    call = {}

    def download(repository: str, **options: object) -> str:
        call.update(options, repository=repository)
        return str(tiny_base)

    monkeypatch.setattr(room, "snapshot_download", download)
    assert locate(section("some/where", "abc")) == tiny_base
    assert (call["repository"], call["revision"]) == ("some/where", "abc")
    assert "unet/diffusion_pytorch_model.safetensors" in call["allow_patterns"]
    assert not any("bin" in pattern or "safety" in pattern for pattern in call["allow_patterns"])


def test_a_single_file_needs_its_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint file without configs within reach is an error that says where to put them."""
    from safetensors.torch import save_file

    file = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(1)}, file)

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(room.StableDiffusionPipeline, "from_single_file", unreachable)
    with pytest.raises(BaseModelError, match=f"(?s)configs and tokenizer.*{tmp_path / 'model'}"):
        load_pipeline(locate(section(file)))
