"""What the shared file says about itself: everything the field's tools look for, and where it came from."""

import base64
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from anime_lora.diffusion.tensor_file import data_hash, read_header
from anime_lora.lora.metadata import current_commit

KOHYA = [
    "v2",
    "base_model_version",
    "network_module",
    "network_dim",
    "network_alpha",
    "network_args",
    "output_name",
    "sd_model_name",
    "learning_rate",
    "optimizer",
    "lr_scheduler",
    "steps",
    "max_train_steps",
    "epoch",
    "num_epochs",
    "total_batch_size",
    "gradient_accumulation_steps",
    "mixed_precision",
    "seed",
    "clip_skip",
    "min_snr_gamma",
    "noise_offset",
    "resolution",
    "num_train_images",
    "dataset_dirs",
    "bucket_info",
    "tag_frequency",
]
MODEL_SPEC = [
    "sai_model_spec",
    "architecture",
    "title",
    "date",
    "resolution",
    "prediction_type",
    "trigger_phrase",
    "thumbnail",
    "hash_sha256",
]
OURS = ["version", "git_commit", "dataset_sha256", "params_sha256", "base_sha256"]


def repository(folder: Path) -> str:
    """Make `folder` a git repository with one commit of 2026-01-02; returns the commit."""
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    date = {
        "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
        "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
        "HOME": str(folder),
    }
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True, env={"PATH": "/usr/bin:/bin:/usr/local/bin", **date})
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_every_key_is_there_and_true(
    stage: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole list, all strings, with the values of this run; the date is the commit's."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    sha = repository(tmp_path)
    out = stage(rank=2, alpha=6.0, epochs=1)
    metadata = read_header(out / "t_c.safetensors").metadata
    wanted = {f"ss_{n}" for n in KOHYA} | {f"modelspec.{n}" for n in MODEL_SPEC} | {f"anime_lora.{n}" for n in OURS}
    assert wanted | {"sshs_model_hash"} <= metadata.keys()
    assert all(isinstance(value, str) for value in metadata.values())
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"], metadata["ss_steps"]) == ("2", "6.0", "3")
    assert json.loads(metadata["ss_tag_frequency"])["t_c"]["square"] == 6
    assert metadata["modelspec.date"] == "2026-01-02T03:04:05"
    assert metadata["modelspec.hash_sha256"] == "0x" + metadata["sshs_model_hash"]
    assert metadata["sshs_model_hash"] == data_hash(out / "t_c.safetensors")
    assert metadata["anime_lora.git_commit"] == sha
    assert sha in (out / "README.md").read_text()


def test_every_published_file_tells_its_lineage(stage: Callable[..., Path]) -> None:
    """diffusers' file and each kept epoch's: specification, thumbnail, hashes; rsLoRA's alpha as readers use it."""
    out = stage(epochs=1, keep_epochs=True, rslora=True, rank=4, alpha=3.0)
    wanted = {f"modelspec.{n}" for n in MODEL_SPEC} - {"modelspec.date"}
    wanted |= {f"anime_lora.{n}" for n in OURS} - {"anime_lora.git_commit"} | {"sshs_model_hash"}
    for file in (out / "pytorch_lora_weights.safetensors", out / "epochs" / "epoch-01.safetensors"):
        metadata = read_header(file).metadata
        assert wanted <= metadata.keys()
        assert metadata["sshs_model_hash"] == data_hash(file)
    assert metadata["ss_network_alpha"] == "6.0"
    with safe_open(out / "t_c.safetensors", "pt") as file:
        assert {float(file.get_tensor(name)) for name in file.keys() if name.endswith(".alpha")} == {6.0}  # noqa: SIM118


def test_the_thumbnail_is_a_small_jpeg(stage: Callable[..., Path]) -> None:
    """A data URI of at most 256 px that is the published epoch's first sample."""
    metadata = read_header(stage(epochs=1) / "t_c.safetensors").metadata
    kind, data = metadata["modelspec.thumbnail"].split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.format == "JPEG"
        assert image.size == (64, 64)


def test_outside_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert current_commit(tmp_path) is None
